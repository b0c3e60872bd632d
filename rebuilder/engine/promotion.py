"""Moves the names of images to builds that are proven.

That a name is to move is committed with the proof, with the answer of the test, or with the promotion of a whole wave,
so a crash loses no move; the same move twice is one.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

from sqlalchemy import Connection

from rebuilder.builders.protocol import Promoting, Restoring
from rebuilder.config import Settings
from rebuilder.domain.build import BuildRejected
from rebuilder.engine.backoff import Backoff, Failure
from rebuilder.engine.calls import Answer, Kind
from rebuilder.engine.context import Context
from rebuilder.store import deliveries, lease
from rebuilder.store.database import reading
from rebuilder.store.deliveries import Pending
from rebuilder.store.lease import Term

log = logging.getLogger(__name__)
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 60.0


def ready_to_promote(connection: Connection, settings: Settings, now: float) -> list[int]:
    """The names that wait, and that nothing keeps from being moved any more; an operator moves others."""
    if settings.promote == "manual" or not deliveries.any_waiting(connection):
        return []
    return deliveries.promotable(connection, whole_waves=settings.promote == "wave", now=now)


def promote_ready(connection: Connection, settings: Settings, now: float) -> int:
    """Let them move; how many there were."""
    ready = ready_to_promote(connection, settings, now)
    deliveries.promote(connection, ready, now)
    return len(ready)


class Promotions:
    """The names that are to move. Of one name, one move at a time is out: the latest is the last to be made."""

    kinds = frozenset({Kind.PROMOTE})
    woken_by = kinds | {Kind.RESULT, Kind.TEST}

    def __init__(self, context: Context) -> None:
        self._context = context
        self._failures = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        self._out: dict[str, int] = {}  # by the name, the delivery that is being made

    @property
    def failure(self) -> Failure | None:
        """Why some name could not be moved last."""
        return self._failures.longest(self._out)

    def ask(self) -> None:
        context, now = self._context, self._context.clock.monotonic()
        if not isinstance(context.builder, Promoting):
            return
        with reading(context.engine) as connection:
            pending = deliveries.pending(connection, remote=False)
        specs = {one.spec for one in pending}
        self._failures.forget(specs)
        self._out = {spec: ident for spec, ident in self._out.items() if spec in specs}
        term = lease.term_of(context.engine)
        for one in pending:
            move = partial(_promote, context.builder, one, context.settings, term)
            if not self._failures.resting(one.spec, now) and context.calls.start(Kind.PROMOTE, one.spec, move):
                self._out[one.spec] = one.id

    def record(self, connection: Connection, answers: Sequence[Answer]) -> int:
        now = self._context.clock.now()
        moved: list[int] = []
        for answer in answers:
            spec = str(answer.subject)
            if answer.error is None:
                moved.append(answer.value)
                self._failures.succeeded(spec)
            elif answer.late:
                continue  # it was asked for again meanwhile
            elif isinstance(answer.error, BuildRejected):
                deliveries.refused(connection, {self._out[spec]: str(answer.error)}, now)
                log.error("%s", answer.error)
            else:
                self._failed(connection, spec, answer)
        deliveries.done(connection, moved, now)
        return len(answers)

    def _failed(self, connection: Connection, spec: str, answer: Answer) -> None:
        failure = self._failures.failed(spec, str(answer.error), self._context.clock.monotonic())
        if failure.count == 1:
            log.warning("%s, next try in %.0f s", answer.error, FIRST_PAUSE)
        if spec in self._out:
            deliveries.delayed(connection, {self._out[spec]: str(answer.error)})


def _promote(builder: Promoting, pending: Pending, settings: Settings, term: Term | None) -> int:
    """Move the name, unless another engine may act by now; the delivery's id.

    A build that is gone here is brought back first, where the delivery says where it is.
    """
    lease.check(term)
    if pending.at and isinstance(builder, Restoring) and not builder.keeps(pending.ident):
        builder.fetch(pending.ident, pending.at, settings.registry.auth_file, settings.calls.push_seconds)
    builder.promote(pending.image, pending.key, pending.ident)
    return pending.id
