"""Takes back what is not available any more: updates that Bodhi withdrew, builds that left their tags.

A build that left one tag has often come into another one of its stream just before: Koji is asked which it has now.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection

from rebuilder.domain.lifecycle import CausesGone
from rebuilder.engine.calls import Kind
from rebuilder.engine.koji_question import KojiQuestion
from rebuilder.inventory.koji.repositories import still_tagged
from rebuilder.inventory.koji.session import KojiSession
from rebuilder.store import causes, changes, unneeded_rebuilds, waves
from rebuilder.store.changes import Doubted
from rebuilder.store.transitions import Transitions

log = logging.getLogger(__name__)


class Withdrawals(KojiQuestion):
    """The changes whose builds left a tag, until Koji says whether another tag of the stream has them."""

    kinds = woken_by = frozenset({Kind.WITHDRAWAL})
    complaint = "Koji is unreachable: the look-up of withdrawn builds is deferred"

    def _question(self, connection: Connection) -> Callable[[], Any] | None:
        doubted, hub = changes.in_doubt(connection), self._context.hub
        if hub is None or not doubted:
            return None
        tags = {name: frozenset(stream.koji_tags) for name, stream in self._context.settings.streams.items()}
        return partial(_look_up, hub, doubted, tags)

    def _take(self, connection: Connection, answered: Mapping[int, bool]) -> int:
        gone = [ident for ident, still in answered.items() if not still]
        changes.confirm(connection, [ident for ident, still in answered.items() if still])
        if gone:
            changes.withdraw(connection, gone, self._context.clock.now())
            drop_causes(self._context.transitions(connection))
        return len(answered)


def _look_up(hub: KojiSession, doubted: Sequence[Doubted], tags: Mapping[str, frozenset[str]]) -> dict[int, bool]:
    """Whether each of these changes, by id, is still offered in its stream. Raises InfrastructureError."""
    offered: dict[int, bool] = {}
    for stream in sorted({item.stream for item in doubted}):
        mine = [item for item in doubted if item.stream == stream]
        tagged = still_tagged(hub, (item.nvr for item in mine), tags.get(stream, frozenset()))
        offered |= {item.id: tagged[item.nvr] for item in mine}
    return offered


def drop_causes(transitions: Transitions) -> None:
    """End what has not begun and is there for withdrawn changes alone: rebuilds, and waves that wait for approval.

    What an operator asked for stays. What is being built goes on, and is not held to what was withdrawn.
    """
    connection = transitions.connection
    entries = unneeded_rebuilds.for_withdrawn(connection)
    causes_of = causes.changes_of(connection, [entry.id for entry in entries])
    transitions.apply([
        (entry, CausesGone(f"{', '.join(sorted({str(c.build) for c in causes_of[entry.id]}))} was withdrawn"))
        for entry in entries
    ])  # fmt: skip
    for wave_id in waves.end_withdrawn(connection, transitions.now):
        log.info("wave %d is finished: all that it was to bring in was withdrawn", wave_id)
