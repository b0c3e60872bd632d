"""Traces sent by OTLP, from a thread of its own: a collector that is slow, or away, does not hold the engine up."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from msgspec import Struct
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    set_span_in_context,
)  # fmt: skip
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from rebuilder import distribution
from rebuilder.config import TraceSettings
from rebuilder.engine import traces
from rebuilder.engine.traces import Span, SpanId
from rebuilder.store.database import first_line, reading
from rebuilder.store.traces import FinishedWave, finished, moved, unmoved

log = logging.getLogger(__name__)
LOOK_SECONDS, AT_ONCE = 5.0, 20  # waves
BILLION = 1_000_000_000


class _Ids(IdGenerator):
    """Gives each span the identity that follows from what it tells of. Of one thread, which names it before."""

    def __init__(self) -> None:
        self.next = SpanId(())

    def generate_trace_id(self) -> int:
        return self.next.trace

    def generate_span_id(self) -> int:
        return self.next.span


class Recorder:
    """Hands spans that are over to a tracer."""

    def __init__(self, tracer: Tracer, ids: _Ids) -> None:
        self._tracer, self._ids = tracer, ids

    def wave(self, wave: FinishedWave) -> None:
        """All that is known of a wave by now."""
        for span in traces.of_wave(wave):
            self._record(span, traces.identity(wave), None)

    def late(self, wave: FinishedWave, deliveries: Collection[int]) -> None:
        """The names that moved after the wave was sent."""
        for outer, span in traces.late(wave, deliveries):
            self._record(span, outer, outer)

    def _record(self, span: Span, outer: SpanId, parent: SpanId | None) -> None:
        """Record a span, and those inside it."""
        within = None
        if parent is not None:
            place = SpanContext(parent.trace, parent.span, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
            within = set_span_in_context(NonRecordingSpan(place))
        own = self._ids.next = outer.within(span)
        begin = _nanoseconds(span.begin)
        made = self._tracer.start_span(span.name, within, attributes=span.attributes, start_time=begin)
        if span.error:
            made.set_status(Status(StatusCode.ERROR, span.error))
        for inner in span.inner:
            self._record(inner, own, own)
        made.end(_nanoseconds(span.end))


@contextmanager
def exporting(engine: Engine, settings: TraceSettings, since: float) -> Iterator[None]:
    """Send a trace for each change of the waves that finish inside the block; `since` is now, since the epoch.

    What is not sent when the process is killed is not sent any more, but for names that move later.
    """
    resource, ids = Resource.create({SERVICE_NAME: "rebuilder", SERVICE_VERSION: distribution.version()}), _Ids()
    provider = TracerProvider(resource=resource, id_generator=ids)
    exporter = OTLPSpanExporter(endpoint=settings.endpoint, timeout=settings.timeout_seconds)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    stop = threading.Event()
    follower = _Follower(Recorder(provider.get_tracer("rebuilder"), ids), (since, 0))
    thread = threading.Thread(target=_follow, args=(engine, follower, stop), name="traces", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(settings.timeout_seconds)
        provider.force_flush(round(settings.timeout_seconds * 1000))
        provider.shutdown()


class _Follower(Struct):
    """What was sent so far: up to which wave, and which names had not moved by then."""

    recorder: Recorder
    after: tuple[float, int]
    unmoved: frozenset[int] = frozenset()

    def send_new(self, connection: Connection) -> None:
        """Send the names that moved since, and the waves that finished since."""
        still = unmoved(connection)
        done = self.unmoved - still
        for wave in moved(connection, done, self.after):
            self.recorder.late(wave, done)
        for wave in finished(connection, self.after, AT_ONCE):
            self.after = (wave.finished, wave.id)
            self.recorder.wave(wave)
        self.unmoved = still


def _follow(engine: Engine, follower: _Follower, stop: threading.Event) -> None:
    """Look until `stop` is set, and once more then."""
    ending = False
    while not ending:
        ending = stop.wait(LOOK_SECONDS)
        try:
            with reading(engine) as connection:
                follower.send_new(connection)
        except DBAPIError as error:
            log.warning("traces: database: %s", first_line(error))


def _nanoseconds(seconds: float) -> int:
    return round(seconds * BILLION)
