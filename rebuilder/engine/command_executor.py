"""Carries out what operators ask for, in the order of asking.

Only the engine changes rebuilds, so a request waits in the database until the engine's next pass, and can be made while
it runs, or does not.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence
from itertools import groupby

from sqlalchemy import Connection

from rebuilder.config import Settings
from rebuilder.domain.errors import RequestError
from rebuilder.domain.lifecycle import OPEN, Canceled, RebuildRecord, Retried, State
from rebuilder.domain.wording import few
from rebuilder.engine import planning, retry_mended
from rebuilder.store import actions, holds, inventory, pins, plan_acceptance, rebuilds
from rebuilder.store.actions import Request, Verb
from rebuilder.store.transitions import Transitions

log = logging.getLogger(__name__)
BY_HAND = frozenset({State.FAILED, State.CANCELED})


def execute(transitions: Transitions, settings: Settings) -> int:
    """Do what was asked for, in the transitions' transaction; how much. Nothing here waits for a builder.

    A build that was canceled is stopped at the builder afterwards.
    """
    connection = transitions.connection
    requests = actions.requested(connection)
    for _, group in groupby(requests, key=_together):
        alike = list(group)
        answer = _answer(transitions, alike, settings)
        for request in alike:
            actions.carried_out(connection, request.id, answer, transitions.now)
            log.info("%s, %s: %s", request.target, request, answer)
    return len(requests)


def _together(request: Request) -> Hashable:
    """What is done as one: images that somebody wants to be rebuilt at the same time are one wave."""
    return (str(request),) if request.verb in (Verb.REBUILD, Verb.REBUILD_ALL) else request.id


def _answer(transitions: Transitions, alike: Sequence[Request], settings: Settings) -> str:
    connection, now, request = transitions.connection, transitions.now, alike[0]
    try:
        match request.verb:
            case Verb.CANCEL:
                return _cancel(transitions, request)
            case Verb.RETRY:
                return _retry(transitions, request)
            case Verb.CATCH_UP:
                retried = retry_mended.retry(transitions)
                wave_id = planning.catch_up(connection, settings, now)
                said = [f"{retried} tried again, as mended"] if retried else []
                return "; ".join([*said, *([f"wave {wave_id} catches up"] if wave_id else [])]) or "nothing was missed"
            case _:
                return _rebuild(connection, alike, settings, now)
    except RequestError as error:  # the image has left the inventory since
        return str(error)


def _targets(connection: Connection, request: Request) -> list[RebuildRecord]:
    """The rebuilds of the wave, parents first, or the last ones of the image, oldest first."""
    if request.wave is not None:
        return rebuilds.of_wave(connection, request.wave)
    records = rebuilds.of_image(connection, holds.image_id(connection, request.target), 2)
    return [entry for entry in reversed(records) if entry.state in OPEN or entry.id == records[0].id]


def _cancel(transitions: Transitions, request: Request) -> str:
    canceled = []
    for target in _targets(transitions.connection, request):
        entry = rebuilds.refresh(transitions.connection, target)
        if entry.state in OPEN or entry.state is State.BLOCKED:
            transitions.apply([(entry, Canceled(f"canceled: {request}", who=request.who))])
            canceled.append(entry.image)
    return f"canceled {few(canceled)}" if canceled else "nothing to cancel"


def _retry(transitions: Transitions, request: Request) -> str:
    """What failed or was canceled begins anew; what is blocked goes on where nothing blocks it any more."""
    connection = transitions.connection
    retried, others = [], []
    for target in _targets(connection, request):
        entry = rebuilds.refresh(connection, target)
        newer = rebuilds.newer(connection, entry)
        if entry.state in BY_HAND and newer is None:
            key = plan_acceptance.key_of(entry.image, entry.wave_id, transitions.now, entry.key)
            transitions.apply([(entry, Retried(f"{request}", key=key))])
            pins.forget(connection, entry)
            retried.append(entry.image)
        elif entry.state in BY_HAND and newer is not None:
            others.append(f"{entry.image} is {newer.state} in wave {newer.wave_id}")
        elif entry.state is State.BLOCKED:
            blocking = transitions.unblock(entry)
            others += [f"{entry.image} is blocked by {blocking}"] if blocking else []
    said = [f"retrying {few(retried)}"] if retried else []
    return "; ".join([*said, *others[:3]]) or "nothing to retry"


def _rebuild(connection: Connection, alike: Sequence[Request], settings: Settings, now: float) -> str:
    request, graph = alike[0], inventory.load(connection)
    images = [one.target for one in alike if len(alike) == 1 or one.target in graph]
    below, unbuilt = request.verb is Verb.REBUILD_ALL, inventory.unbuilt(connection)
    drafted = planning.draft_by_hand(connection, graph, images, settings, below=below, unbuilt=unbuilt)
    wave_id, waiting = plan_acceptance.by_hand(connection, drafted, f"by hand: {request}", request.who, now)
    said = [f"wave {wave_id} rebuilds {few([r.image for r in drafted.plan.rebuilds if r.image not in waiting])}"]
    joined = [f"{few(waiting)} waits to be rebuilt already"] if waiting else []
    return "; ".join([*(said if wave_id else []), *joined])
