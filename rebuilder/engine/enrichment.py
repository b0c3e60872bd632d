"""Asks Koji what the changes are that messages told of: their epochs, and the RPMs that they were built into.

What a message says of that is a hint at most. While Koji is away, no change is planned: it would be a guess.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial

from sqlalchemy import Connection

from rebuilder.engine.backoff import Backoff, Failure
from rebuilder.engine.calls import Answer, Kind
from rebuilder.engine.context import Context
from rebuilder.inventory.koji import offers
from rebuilder.inventory.koji.hub import Hub
from rebuilder.inventory.koji.offers import Resolved
from rebuilder.store import changes
from rebuilder.store.changes import Noticed
from rebuilder.store.database import reading

log = logging.getLogger(__name__)
SUBJECT = "changes"
LONGEST_PAUSE = 300.0


class Enrichment:
    """The changes that Koji has not been asked of yet."""

    kinds = woken_by = frozenset({Kind.LOOKUP})

    def __init__(self, context: Context) -> None:
        self._context = context
        self._failures = Backoff(context.settings.koji.poll_seconds, LONGEST_PAUSE)

    @property
    def failure(self) -> Failure | None:
        """Why changes wait for Koji, where they do."""
        return self._failures.of(SUBJECT)

    def ask(self) -> None:
        context, hub = self._context, self._context.hub
        if hub is None or self._failures.resting(SUBJECT, context.clock.monotonic()):
            return
        with reading(context.engine) as connection:
            new = _unknown(connection, changes.unresolved(connection))
        if new is not None:
            context.calls.start(Kind.LOOKUP, SUBJECT, partial(_look_up, hub, new))

    def record(self, connection: Connection, answers: Sequence[Answer]) -> int:
        changed = 0
        for answer in answers:
            if answer.error is None:
                self._failures.succeeded(SUBJECT)
                changed += _resolve(connection, answer.value)
                continue
            failure = self._failures.failed(SUBJECT, str(answer.error), self._context.clock.monotonic())
            if failure.count == 1:
                log.warning("Koji cannot be asked what the changes are: %s", answer.error)
        return changed


def _look_up(hub: Hub, nvrs: Sequence[str]) -> dict[str, Resolved | None]:
    """What Koji has of each of these; None for what it does not know. Raises InfrastructureError."""
    return {**dict.fromkeys(nvrs), **offers.resolve(hub, nvrs)}


def _unknown(connection: Connection, waiting: Sequence[Noticed]) -> list[str] | None:
    """The NVRs to ask of, in order: none where other streams' changes told of them all; None where nothing waits."""
    if not waiting:
        return None
    told = _told_before(connection, waiting)
    return list(dict.fromkeys(item.change.build.nvr for item in waiting if item.change.build.nvr not in told))


def _told_before(connection: Connection, waiting: Sequence[Noticed]) -> dict[str, Resolved]:
    known = changes.resolved(connection, (item.change.build.name for item in waiting))
    return {change.build.nvr: Resolved(change.build, True, change.rpms) for change in known.values() if change.rpms}


def _resolve(connection: Connection, answered: Mapping[str, Resolved | None]) -> int:
    """Complete the changes; how many.

    What Koji has no RPMs of, or not any more, is forgotten; what it does not know at all is taken as it was told. A
    change that came while Koji was asked is not among the answers, and is asked of next.
    """
    waiting = changes.unresolved(connection)
    found: dict[str, Resolved | None] = {**_told_before(connection, waiting), **answered}
    done = 0
    for item in waiting:
        nvr = item.change.build.nvr
        if nvr not in found:
            continue
        done += 1
        told = found[nvr]
        if told is None:
            log.warning("Koji does not know %s: taken as it was told", item.change.build)
            changes.resolve(connection, item.id, item.change.build.evr.epoch, ())
        elif _wanted(item, told):
            changes.resolve(connection, item.id, told.build.evr.epoch, told.rpms)
        else:
            changes.forget(connection, item.id)
    return done


def _wanted(item: Noticed, told: Resolved) -> bool:
    if told.complete and told.rpms:
        return True
    log.info("%s is forgotten: %s", item.change, "no build of RPMs" if told.complete else "not complete in Koji")
    return False
