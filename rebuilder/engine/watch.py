"""Asks the builder how the builds stand, and records those that ended."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import Engine

from rebuilder.builders.protocol import Builder
from rebuilder.config import Settings
from rebuilder.domain.build import InfrastructureError, Phase, Status
from rebuilder.domain.image import ImageBuild
from rebuilder.domain.lifecycle import State
from rebuilder.engine import outcome
from rebuilder.engine.together import together
from rebuilder.store import rebuilds
from rebuilder.store.database import reading

log = logging.getLogger(__name__)
Ending = ImageBuild | Status
OUTCOMES = {Phase.FAILED: outcome.failed, Phase.ABORTED: outcome.aborted, Phase.CANCELED: outcome.canceled}


def watch(engine: Engine, builder: Builder, settings: Settings, now: float) -> int:
    """One look at all live builds; how many ended. Raises InfrastructureError where the builder cannot be asked."""
    with reading(engine) as connection:
        entries = rebuilds.in_states(connection, [State.BUILDING])
    if not entries:
        return 0
    statuses = builder.poll([entry.ref for entry in entries])
    lost = Status(Phase.ABORTED, "the builder does not know this build any more")
    endings = _endings(builder, [(entry, statuses.get(entry.ref, lost)) for entry in entries], settings, now)
    return sum(_record(engine, group, settings, now) for group in together(endings))


def _endings(
    builder: Builder, found: Iterable[tuple[rebuilds.Entry, Status]], settings: Settings, now: float
) -> Iterator[tuple[rebuilds.Entry, Ending]]:
    """The builds that ended: each with what came out, or with why nothing did."""
    for entry, status in found:
        ending: Ending | None = status
        if status.phase is Phase.RUNNING:
            ending = _over_time(builder, entry, settings, now)
        elif status.phase is Phase.SUCCEEDED:
            ending = _result(builder, entry)
        if ending is not None:
            yield entry, ending


def _over_time(builder: Builder, entry: rebuilds.Entry, settings: Settings, now: float) -> Status | None:
    """End a build that takes too long: it hangs, which is no fault of its own."""
    if entry.started_at is None or now - entry.started_at <= settings.time_limit:
        return None
    try:
        builder.cancel(entry.ref)
    except InfrastructureError as trouble:
        log.warning("%s is over its time limit, and cannot be canceled: %s", entry.image, trouble)
        return None
    return Status(Phase.ABORTED, f"over its time limit of {settings.time_limit:g} s")


def _result(builder: Builder, entry: rebuilds.Entry) -> ImageBuild | None:
    try:
        return builder.result(entry.ref)
    except InfrastructureError as trouble:
        log.warning("%s was built, its result cannot be read yet: %s", entry.image, trouble)
        return None


def _record(
    engine: Engine, endings: Sequence[tuple[rebuilds.Entry, Ending]], settings: Settings, now: float
) -> int:
    built = [(entry, ending) for entry, ending in endings if isinstance(ending, ImageBuild)]
    others = [(entry, ending) for entry, ending in endings if isinstance(ending, Status)]
    with engine.begin() as connection:
        if built:
            outcome.built(connection, built, settings, now)
        for entry, status in others:
            OUTCOMES[status.phase](connection, entry, status.reason, settings, now)
    for entry, build in built:
        log.info("%s was built: %s", entry.image, build.ident)
    for entry, status in others:
        log.info("%s %s: %s", entry.image, status.phase, status.reason)
    return len(endings)
