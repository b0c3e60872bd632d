"""Takes back what is offered no more: updates that Bodhi withdrew, builds that left their tags.

A build that left one tag has often come into another one of its stream just before: Koji is asked which it has now.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial

from sqlalchemy import Connection

from rebuilder.domain.lifecycle import CausesGone
from rebuilder.engine.backoff import Backoff, Failure
from rebuilder.engine.calls import Answer, Kind
from rebuilder.engine.context import Context
from rebuilder.inventory.koji.hub import Hub
from rebuilder.inventory.koji.repositories import still_tagged
from rebuilder.store import causes, changes, rebuilds, waves
from rebuilder.store.changes import Doubted
from rebuilder.store.database import reading
from rebuilder.store.transitions import Transitions

log = logging.getLogger(__name__)
SUBJECT = "withdrawals"
LONGEST_PAUSE = 300.0


class Withdrawals:
    """The changes whose builds left a tag, until Koji says whether another tag of the stream has them."""

    kinds = woken_by = frozenset({Kind.WITHDRAWAL})

    def __init__(self, context: Context) -> None:
        self._context = context
        self._failures = Backoff(context.settings.koji.poll_seconds, LONGEST_PAUSE)

    @property
    def failure(self) -> Failure | None:
        """Why it is not known whether builds are still offered."""
        return self._failures.of(SUBJECT)

    def ask(self) -> None:
        context, hub = self._context, self._context.hub
        if hub is None or self._failures.resting(SUBJECT, context.clock.monotonic()):
            return
        with reading(context.engine) as connection:
            doubted = changes.in_doubt(connection)
        if doubted:
            tags = {name: frozenset(stream.koji_tags) for name, stream in context.settings.streams.items()}
            context.calls.start(Kind.WITHDRAWAL, SUBJECT, partial(_look_up, hub, doubted, tags))

    def record(self, connection: Connection, answers: Sequence[Answer]) -> int:
        done = 0
        for answer in answers:
            if answer.error is not None:
                failure = self._failures.failed(SUBJECT, str(answer.error), self._context.clock.monotonic())
                if failure.count == 1:
                    log.warning("Koji cannot be asked whether builds are still tagged: %s", answer.error)
                continue
            self._failures.succeeded(SUBJECT)
            offered: Mapping[int, bool] = answer.value
            gone = [ident for ident, still in offered.items() if not still]
            changes.confirm(connection, [ident for ident, still in offered.items() if still])
            changes.withdraw(connection, gone, self._context.clock.now())
            drop_causes(self._context.transitions(connection))
            done += len(offered)
        return done


def _look_up(hub: Hub, doubted: Sequence[Doubted], tags: Mapping[str, frozenset[str]]) -> dict[int, bool]:
    """Whether each of these changes, by id, is still offered in its stream. Raises InfrastructureError."""
    found: dict[int, bool] = {}
    for stream in sorted({item.stream for item in doubted}):
        mine = [item for item in doubted if item.stream == stream]
        tagged = still_tagged(hub, (item.nvr for item in mine), tags.get(stream, frozenset()))
        found |= {item.id: tagged[item.nvr] for item in mine}
    return found


def drop_causes(transitions: Transitions) -> None:
    """End what has not begun and is there for withdrawn changes alone: rebuilds, and waves that wait for approval.

    What an operator asked for stays. What is being built goes on, and is not held to what was withdrawn.
    """
    connection = transitions.connection
    entries = rebuilds.for_withdrawn(connection)
    told = causes.changes_of(connection, [entry.id for entry in entries])
    transitions.apply([
        (entry, CausesGone(f"{', '.join(sorted({str(c.build) for c in told[entry.id]}))} was withdrawn"))
        for entry in entries
    ])  # fmt: skip
    for wave_id in waves.end_withdrawn(connection, transitions.now):
        log.info("wave %d is finished: all that it was to bring in was withdrawn", wave_id)
