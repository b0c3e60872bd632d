"""Metrics in Prometheus' format: from the database, where consumer and engine keep what they count, and the broker."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from rebuilder import distribution
from rebuilder.config import Settings
from rebuilder.domain.lifecycle import ENDED, LIVE, OPEN, State
from rebuilder.engine.calls import Kind
from rebuilder.queries import image_state
from rebuilder.store import (
    changes,
    counters,
    dead_letters,
    heartbeats,
    holds,
    image_states,
    inbox,
    lease,
    outbox,
    rebuild_progress,
)
from rebuilder.store.counters import StoredCounter
from rebuilder.store.database import reading
from rebuilder.store.heartbeats import CallsOut
from rebuilder.web.broker import Broker
from rebuilder.web.histograms import histogram

CALLS = ("submit", "find", "poll", "result", "cancel")
NONE = StoredCounter(0)

router = APIRouter()


@router.get("/metrics", include_in_schema=False)
def metrics(request: Request) -> Response:
    """Everything that is measured."""
    registry: CollectorRegistry = request.app.state.registry
    encode, media_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(registry), headers={"Content-Type": media_type, "Cache-Control": "no-store"})


def registry_of(engine: Engine, settings: Settings, broker: Broker | None) -> CollectorRegistry:
    """What an application measures."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Measurements(engine, settings, broker))
    ProcessCollector(namespace="rebuilder_web", registry=registry)
    return registry


class Measurements(Collector):
    """Reads what is measured when it is asked for: in short, bounded queries, however long history is."""

    def __init__(self, engine: Engine, settings: Settings, broker: Broker | None) -> None:
        self._engine = engine
        self._settings = settings
        self._broker = broker

    def describe(self) -> Iterator[Metric]:
        """Nothing before it is asked for: a database that is away must not keep the server from starting."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """All that is measured now, as prometheus_client asks for it."""
        yield self._build_info()
        yield from self._of_broker()
        try:
            with reading(self._engine) as connection:
                metrics = list(self._of_database(connection, time.time()))
        except SQLAlchemyError:
            metrics = []
        yield _gauge("database_up", "Whether the database answers.", float(bool(metrics)))
        yield from metrics

    def _build_info(self) -> Metric:
        about = "What runs: 1, with its versions, its builder and its kind of database as labels."
        labels = {
            "version": distribution.version(),
            "python": platform.python_version(),
            "builder": self._settings.builder,
            "database": self._engine.dialect.name,
        }
        family = GaugeMetricFamily("rebuilder_build_info", about, labels=list(labels))
        family.add_metric(list(labels.values()), 1)
        return family

    def _of_broker(self) -> Iterator[Metric]:
        if self._broker is None:
            return
        state = self._broker.state
        yield _gauge("broker_up", "Whether the broker can be reached.", float(state.reachable))
        depth = GaugeMetricFamily("rebuilder_queue_messages", "Messages ready in a queue.", labels=["queue"])
        readers = GaugeMetricFamily("rebuilder_queue_consumers", "Consumers of a queue.", labels=["queue"])
        for name, queue in state.queues.items():
            depth.add_metric([name], queue.messages)
            readers.add_metric([name], queue.consumers)
        yield from (depth, readers)

    def _of_database(self, connection: Connection, now: float) -> Iterator[Metric]:
        yield from _messages(connection, now)
        yield from self._images(connection, now)
        yield from self._rebuilds(connection, now)
        yield from _engine(connection)
        yield from _publishing(connection, now)
        yield from _loops(connection, now)

    def _images(self, connection: Connection, now: float) -> Iterator[Metric]:
        states = image_state.read(connection, self._settings, now).values()
        images = GaugeMetricFamily("rebuilder_images", "Images by what they are.", labels=["state"])
        for state, count in image_states.counts(states).items():
            images.add_metric([str(state)], count)
        oldest = min((image.since for image in states if image.since is not None), default=None)
        about = "How long the image that is stale for longest has lacked a change; held and waiting ones count too."
        yield from (images, _gauge("stale_seconds", about, _age(oldest, now)))

    def _rebuilds(self, connection: Connection, now: float) -> Iterator[Metric]:
        open_ones = GaugeMetricFamily("rebuilder_rebuilds", "Rebuilds that are not done, by state.", labels=["state"])
        counted = {state: rebuild_progress.count_in(connection, state) for state in State if state in OPEN}
        for state, count in counted.items():
            open_ones.add_metric([str(state)], count)
        steps = counters.read(connection, "step")
        ended = counters.read(connection, "ended")
        outcomes = CounterMetricFamily("rebuilder_rebuilds_ended", "Rebuilds by their outcome.", labels=["outcome"])
        for state in State:
            if state in ENDED:
                outcomes.add_metric([str(state)], ended.get(str(state), NONE).count)
        yield from (open_ones, outcomes)
        oldest = rebuild_progress.oldest_in(connection, State.QUEUED)
        yield _gauge("queue_oldest_age_seconds", "How long the oldest queued rebuild has waited.", _age(oldest, now))
        yield _gauge("slots", "Builds that there may be at one time.", self._settings.slots)
        yield _gauge("slots_used", "Builds under way.", sum(counted[state] for state in LIVE))
        yield _counter("attempts", "Builds begun.", steps.get("dispatched", NONE).count)
        yield _counter("aborts", "Builds that an infrastructure error ended.", steps.get("aborted", NONE).count)
        paused = holds.paused(connection, time.time()) is not None
        yield _gauge("paused", "Whether the engine must start no builds.", float(paused))


def _messages(connection: Connection, now: float) -> Iterator[Metric]:
    outcomes = counters.read(connection, "message")
    counts = inbox.counts(connection)
    unread = counts.get("new", 0)
    read = {state: outcomes.get(state, NONE).count for state in inbox.ENDED}
    twice = outcomes.get("duplicate", NONE).count
    yield _counter("messages_received", "Messages received, duplicates included.", sum(counts.values()) + twice)
    yield _counter("messages_duplicate", "Messages that were received before.", twice)
    yield _counter("messages_rejected", "Messages that could not be parsed.", read["rejected"])
    yield _counter("messages_accepted", "Messages that were acted on.", read["accepted"])
    yield _gauge("messages_set_aside", "Deliveries that could not be kept as messages.", dead_letters.count(connection))
    yield _gauge("messages_unread", "Messages that are received and not yet acted on.", unread)
    oldest = inbox.oldest_unread(connection)
    yield _gauge("messages_oldest_unread_age_seconds", "Age of the oldest of them.", _age(oldest, now))
    yield _counter("changes", "Changes noticed.", changes.noticed(connection))
    yield _gauge("changes_settling", "Changes that wait to be planned.", changes.settling(connection))


def _engine(connection: Connection) -> Iterator[Metric]:
    trouble = counters.read(connection, "trouble")
    about = "Calls to the builder that could not be answered."
    errors = CounterMetricFamily("rebuilder_builder_errors", about, labels=["call"])
    said = "Deprecated: rebuilder_builder_errors_total."
    old = CounterMetricFamily("rebuilder_builder_trouble", said, labels=["call"])
    for call in CALLS:
        errors.add_metric([call], trouble.get(call, NONE).count)
        old.add_metric([call], trouble.get(call, NONE).count)
    latency = ("builder_call_seconds", "What calls to the builder take.")
    yield from (histogram(connection, latency, "builder", dict(zip(CALLS, CALLS, strict=True))), errors, old)
    yield from _calls_out(connection)
    twice = counters.read(connection, "submission").get("duplicate", NONE).count
    yield _counter("duplicate_submissions", "Builds that were submitted twice; must be 0.", twice)
    yield histogram(connection, ("plan_seconds", "What planning takes."), "plan", {"": "settled"})
    yield histogram(connection, ("wave_makespan_seconds", "What finished waves took."), "wave", {"": "makespan"})
    about = "The least that finished waves could have taken."
    yield histogram(connection, ("wave_lower_bound_seconds", about), "wave", {"": "lower-bound"})
    waves = counters.read(connection, "wave")
    took, least = waves.get("makespan", NONE).seconds, waves.get("lower-bound", NONE).seconds
    ratio = took / least if least else float("nan")
    yield _gauge("wave_makespan_ratio", "Makespan over lower bound of all finished waves.", ratio)


def _calls_out(connection: Connection) -> Iterator[Metric]:
    """Every kind is there, also with no call out: an alert needs a series to look at."""
    beats = heartbeats.read(connection)
    beat = beats.get("engine")
    calls = {call.kind: call for call in beat.activity.calls} if beat else {}
    out = GaugeMetricFamily("rebuilder_calls", "Calls of the engine that are out, by kind.", labels=["kind"])
    overdue = GaugeMetricFamily("rebuilder_calls_overdue", "Those past their time limit.", labels=["kind"])
    oldest = GaugeMetricFamily("rebuilder_call_oldest_seconds", "How long the oldest of them is out.", labels=["kind"])
    for kind in Kind:
        call = calls.get(str(kind), CallsOut(str(kind), 0, 0, 0.0))
        out.add_metric([call.kind], call.count)
        overdue.add_metric([call.kind], call.overdue)
        oldest.add_metric([call.kind], call.oldest)
    yield from (out, overdue, oldest)
    unread = sum(beat.activity.unread_images for beat in beats.values())
    yield _gauge("images_unread", "Images that cannot be read and keep their last known state.", unread)


def _publishing(connection: Connection, now: float) -> Iterator[Metric]:
    yield _gauge("publish_backlog", "Notifications that wait to be published.", outbox.waiting(connection))
    oldest = outbox.oldest(connection)
    yield _gauge("publish_oldest_age_seconds", "How long the oldest of them has waited.", _age(oldest, now))
    refused, _ = outbox.set_aside(connection, 0)
    yield _gauge("publish_set_aside", "Notifications that cannot be published.", refused)


def _loops(connection: Connection, now: float) -> Iterator[Metric]:
    at = GaugeMetricFamily("rebuilder_heartbeat_timestamp_seconds", "When a loop last made progress.", labels=["loop"])
    age = GaugeMetricFamily("rebuilder_heartbeat_age_seconds", "How long that is ago.", labels=["loop"])
    beats = heartbeats.read(connection)
    for loop, beat in beats.items():
        # Standbys come and go: they are counted, not told apart.
        if loop != heartbeats.INVENTORY and not loop.startswith(heartbeats.STANDBY):
            at.add_metric([loop], beat.at)
            age.add_metric([loop], max(0.0, now - beat.at))
    active = GaugeMetricFamily("rebuilder_engine_active", "The engine that acts.", labels=["process"])
    if owner := lease.read(connection).owner:
        active.add_metric([owner], 1)
    standbys = len(heartbeats.standbys(beats, now))
    yield from (at, age, active, _gauge("engine_standbys", "Engines that wait until they may act.", standbys))


def _age(moment: float | None, now: float) -> float:
    """Seconds since the moment; 0 where there is none."""
    return 0.0 if moment is None else max(0.0, now - moment)


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(f"rebuilder_{name}", about, value=value)


def _counter(name: str, about: str, value: float) -> Metric:
    return CounterMetricFamily(f"rebuilder_{name}", about, value=value)
