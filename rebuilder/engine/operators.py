"""Carries out what operators ask for, in the order of asking.

Only the engine changes rebuilds, so a request waits in the database until the engine's next pass, and can be made while
it runs, or does not.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from sqlalchemy import Connection, Engine

from rebuilder.builders.protocol import Builder
from rebuilder.config import Settings
from rebuilder.domain.build import InfrastructureError
from rebuilder.domain.errors import RequestError
from rebuilder.domain.lifecycle import LIVE, OPEN, State
from rebuilder.domain.plan import plan_by_hand
from rebuilder.domain.schedule import durations
from rebuilder.engine import outcome, planning
from rebuilder.store import actions, holds, inventory, rebuilds, waves
from rebuilder.store.actions import Request, Verb
from rebuilder.store.database import reading
from rebuilder.store.rebuilds import Entry

log = logging.getLogger(__name__)
BY_HAND = frozenset({State.FAILED, State.CANCELED})


def carry_out(engine: Engine, builder: Builder, settings: Settings, now: float) -> int:
    """Do what was asked for; how much. A build that its builder cannot stop now is tried again with the next pass."""
    with reading(engine) as connection:
        requests = actions.requested(connection)
    for done, request in enumerate(requests):
        try:
            if request.verb is Verb.CANCEL:
                _stop_builds(engine, builder, request)
        except InfrastructureError as trouble:
            log.warning("builder %s cannot cancel: %s", builder.name, trouble)
            return done
        with engine.begin() as connection:
            answer = _answer(connection, request, settings, now)
            actions.carried_out(connection, request.id, answer, now)
        log.info("%s, %s: %s", request.target, request, answer)
    return len(requests)


def _stop_builds(engine: Engine, builder: Builder, request: Request) -> None:
    """First the builder is told: what it builds on must not be forgotten."""
    with reading(engine) as connection:
        live = [entry for entry in _targets(connection, request) if entry.state in LIVE]
    submitted = builder.find([entry.key for entry in live if entry.state is State.SUBMITTING]) if live else {}
    for entry in live:
        ref = submitted[entry.key].ref if entry.key in submitted else entry.ref
        if ref:
            builder.cancel(ref)


def _answer(connection: Connection, request: Request, settings: Settings, now: float) -> str:
    try:
        match request.verb:
            case Verb.CANCEL:
                return _cancel(connection, request, settings, now)
            case Verb.RETRY:
                return _retry(connection, request, settings, now)
            case Verb.CATCH_UP:
                wave_id = planning.catch_up(connection, settings, now)
                return f"wave {wave_id} catches up" if wave_id else "nothing was missed"
            case _:
                return _rebuild(connection, request, settings, now)
    except RequestError as error:  # the image has left the inventory since
        return str(error)


def _targets(connection: Connection, request: Request) -> list[Entry]:
    """The rebuilds of the wave, parents first, or the last ones of the image, oldest first."""
    if request.wave is not None:
        return rebuilds.of_wave(connection, request.wave)
    found = rebuilds.of_image(connection, holds.image_id(connection, request.target), 2)
    return [entry for entry in reversed(found) if entry.state in OPEN or entry.id == found[0].id]


def _cancel(connection: Connection, request: Request, settings: Settings, now: float) -> str:
    canceled = []
    for target in _targets(connection, request):
        entry = rebuilds.fresh(connection, target)
        if entry.state in OPEN or entry.state is State.BLOCKED:
            outcome.canceled(connection, entry, f"canceled: {request}", settings, now, request.who)
            canceled.append(entry.image)
    return f"canceled {_named(canceled)}" if canceled else "nothing to cancel"


def _retry(connection: Connection, request: Request, settings: Settings, now: float) -> str:
    """What failed or was canceled begins anew; what is blocked goes on where nothing blocks it any more."""
    retried, others = [], []
    for target in _targets(connection, request):
        entry = rebuilds.fresh(connection, target)
        newer = rebuilds.later(connection, entry)
        if entry.state in BY_HAND and newer is None:
            outcome.retried(connection, entry, f"{request}", settings, now)
            retried.append(entry.image)
        elif entry.state in BY_HAND and newer is not None:
            others.append(f"{entry.image} is {newer.state} in wave {newer.wave_id}")
        elif entry.state is State.BLOCKED:
            blocking = outcome.unblock(connection, entry, settings, now)
            others += [f"{entry.image} is blocked by {blocking}"] if blocking else []
    said = [f"retrying {_named(retried)}"] if retried else []
    return "; ".join([*said, *others[:3]]) or "nothing to retry"


def _rebuild(connection: Connection, request: Request, settings: Settings, now: float) -> str:
    graph = inventory.load(connection)
    seconds = durations(graph.images, inventory.measured(connection))
    below = request.verb is Verb.REBUILD_ALL
    plan = plan_by_hand(graph, request.target, below, slots=settings.slots, seconds=seconds)
    wave_id, waiting = waves.by_hand(connection, plan, f"by hand: {request}", request.who, seconds, now)
    said = [f"wave {wave_id} rebuilds {_named([r.image for r in plan.rebuilds if r.image not in waiting])}"]
    joined = [f"{_named(waiting)} waits to be rebuilt already"] if waiting else []
    return "; ".join([*(said if wave_id else []), *joined])


def _named(images: Sequence[str]) -> str:
    return ", ".join(images) if len(images) <= 3 else f"{', '.join(images[:2])} and {len(images) - 2} more"
