"""Asks Koji what the changes are that messages told of: their epochs, and the RPMs that they were built into.

What a message says of that is a hint at most. While Koji is away, no change is planned: it would be a guess.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection

from rebuilder.engine.calls import Kind
from rebuilder.engine.koji_question import KojiQuestion
from rebuilder.inventory.koji import tag_builds
from rebuilder.inventory.koji.session import KojiSession
from rebuilder.inventory.koji.tag_builds import Resolved
from rebuilder.store import changes
from rebuilder.store.changes import StoredChange

log = logging.getLogger(__name__)


class Enrichment(KojiQuestion):
    """The changes that Koji has not been asked of yet."""

    kinds = woken_by = frozenset({Kind.LOOKUP})
    complaint = "Koji is unreachable: the look-up of changes is deferred"

    def _question(self, connection: Connection) -> Callable[[], Any] | None:
        new = _unknown(connection, changes.unresolved(connection))
        hub = self._context.hub
        return None if hub is None or new is None else partial(_look_up, hub, new)

    def _take(self, connection: Connection, answered: Mapping[str, Resolved | None]) -> int:
        return _resolve(connection, answered)


def _look_up(hub: KojiSession, nvrs: Sequence[str]) -> dict[str, Resolved | None]:
    """What Koji has of each of these; None for what it does not know. Raises InfrastructureError."""
    return {**dict.fromkeys(nvrs), **tag_builds.resolve(hub, nvrs)}


def _unknown(connection: Connection, waiting: Sequence[StoredChange]) -> list[str] | None:
    """The NVRs to ask of, in order: none where other streams' changes told of them all; None where nothing waits."""
    if not waiting:
        return None
    resolved = _told_before(connection, waiting)
    return list(dict.fromkeys(item.change.build.nvr for item in waiting if item.change.build.nvr not in resolved))


def _told_before(connection: Connection, waiting: Sequence[StoredChange]) -> dict[str, Resolved]:
    resolved = changes.resolved(connection, (item.change.build.name for item in waiting))
    return {change.build.nvr: Resolved(change.build, True, change.rpms) for change in resolved.values() if change.rpms}


def _resolve(connection: Connection, answered: Mapping[str, Resolved | None]) -> int:
    """Complete the changes; how many.

    What Koji has no RPMs of, or not any more, is forgotten; what it does not know at all is taken as it was told. A
    change that came while Koji was asked is not among the answers, and is asked of next.
    """
    waiting = changes.unresolved(connection)
    resolved: dict[str, Resolved | None] = {**_told_before(connection, waiting), **answered}
    done = 0
    for item in waiting:
        nvr = item.change.build.nvr
        if nvr not in resolved:
            continue
        done += 1
        answer = resolved[nvr]
        if answer is None:
            log.warning("Koji does not know %s: taken as it was told", item.change.build)
            changes.resolve(connection, item.id, item.change.build.evr.epoch, ())
        elif _wanted(item, answer):
            changes.resolve(connection, item.id, answer.build.evr.epoch, answer.rpms)
        else:
            changes.forget(connection, item.id)
    return done


def _wanted(item: StoredChange, answer: Resolved) -> bool:
    if answer.complete and answer.rpms:
        return True
    log.info("%s is forgotten: %s", item.change, "no build of RPMs" if answer.complete else "not complete in Koji")
    return False
