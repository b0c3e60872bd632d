"""Asks the builder how the builds stand, and records those that ended."""

from __future__ import annotations

import logging

from sqlalchemy import Engine

from rebuilder.builders.protocol import Builder
from rebuilder.config import Settings
from rebuilder.domain.build import Aborted, Phase, Status
from rebuilder.domain.lifecycle import State
from rebuilder.engine import outcome
from rebuilder.store import rebuilds
from rebuilder.store.database import reading

log = logging.getLogger(__name__)


def watch(engine: Engine, builder: Builder, settings: Settings, now: float) -> int:
    """One look at all live builds; how many ended. Raises Aborted where the builder cannot be asked."""
    with reading(engine) as connection:
        entries = rebuilds.in_states(connection, [State.BUILDING])
    if not entries:
        return 0
    statuses = builder.poll([entry.ref for entry in entries])
    lost = Status(Phase.ABORTED, "the builder does not know this build any more")
    return sum(_ended(engine, builder, entry, statuses.get(entry.ref, lost), settings, now) for entry in entries)


def _ended(
    engine: Engine, builder: Builder, entry: rebuilds.Entry, status: Status, settings: Settings, now: float
) -> bool:
    if status.phase is Phase.RUNNING:
        return _over_time(engine, builder, entry, settings, now)
    if status.phase is Phase.SUCCEEDED:
        return _succeeded(engine, builder, entry, settings, now)
    ending = {Phase.FAILED: outcome.failed, Phase.ABORTED: outcome.aborted, Phase.CANCELED: outcome.canceled}
    with engine.begin() as connection:
        ending[status.phase](connection, entry, status.reason, settings, now)
    log.info("%s %s: %s", entry.image, status.phase, status.reason)
    return True


def _over_time(engine: Engine, builder: Builder, entry: rebuilds.Entry, settings: Settings, now: float) -> bool:
    """End a build that takes too long: it hangs, which is no fault of its own."""
    if entry.started_at is None or now - entry.started_at <= settings.time_limit:
        return False
    try:
        builder.cancel(entry.ref)
    except Aborted as trouble:
        log.warning("%s is over its time limit, and cannot be canceled: %s", entry.image, trouble)
        return False
    with engine.begin() as connection:
        outcome.aborted(connection, entry, f"over its time limit of {settings.time_limit:g} s", settings, now)
    return True


def _succeeded(engine: Engine, builder: Builder, entry: rebuilds.Entry, settings: Settings, now: float) -> bool:
    try:
        build = builder.result(entry.ref)
    except Aborted as trouble:
        log.warning("%s was built, its result cannot be read yet: %s", entry.image, trouble)
        return False
    with engine.begin() as connection:
        outcome.built(connection, entry, build, settings, now)
    log.info("%s was built: %s", entry.image, build.ident)
    return True
