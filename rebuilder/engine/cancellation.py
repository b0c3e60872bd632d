"""Stops builds at the builder that no rebuild waits for any more: canceled, or over their time."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

from sqlalchemy import Connection

from rebuilder.engine.backoff import Backoff
from rebuilder.engine.batching import Batches
from rebuilder.engine.calls import Answer, Kind
from rebuilder.engine.context import Context
from rebuilder.store import cancellations
from rebuilder.store.cancellations import Pending
from rebuilder.store.database import reading

log = logging.getLogger(__name__)
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 60.0


class Cancellations:
    """What is to be stopped. A build whose submission is still out is stopped as soon as that has arrived."""

    kinds = frozenset({Kind.CANCEL})
    woken_by = kinds | {Kind.SUBMIT}

    def __init__(self, context: Context) -> None:
        self._context = context
        self._questions = Batches()
        self._failures = Backoff(FIRST_PAUSE, LONGEST_PAUSE)

    def ask(self) -> None:
        context, now = self._context, self._context.clock.monotonic()
        with reading(context.engine) as connection:
            pending = cancellations.pending(connection)
        rested = [one for one in pending if not self._failures.resting(one.key, now)]
        self._failures.forget({one.key for one in pending})
        for one in rested:
            if one.ref:
                context.calls.start(Kind.CANCEL, one.key, partial(context.builder.cancel, one.ref))
        self._look_for([one for one in rested if not one.ref], now)

    def _look_for(self, unknown: Sequence[Pending], now: float) -> None:
        """Ask whether the builder has got those that it has not answered about."""
        calls, find = self._context.calls, self._context.builder.find
        self._questions.split(now)
        self._questions.start(
            (one.key for one in unknown), now, lambda batch: calls.start(Kind.CANCEL, batch, partial(find, batch))
        )  # fmt: skip

    def record(self, connection: Connection, answers: Sequence[Answer]) -> int:
        done: list[str] = []
        for answer in answers:
            if isinstance(answer.subject, tuple):
                done += self._record_found(connection, answer.subject, answer)
            elif answer.error is None:
                done.append(str(answer.subject))
            else:
                self._failed(str(answer.subject), answer)
        cancellations.done(connection, done)
        return len(done)

    def _record_found(self, connection: Connection, batch: tuple[str, ...], answer: Answer) -> list[str]:
        """The keys that the builder does not have, and will not get: there is nothing to stop."""
        if answer.error is not None:
            self._questions.unanswered(batch)
            for key in batch:
                self._failed(key, answer)
            return []
        self._questions.answered(batch)
        absent = []
        for key in batch:
            if key in answer.value:
                cancellations.found(connection, key, answer.value[key].ref)
            elif self._context.calls.is_out(Kind.SUBMIT, key):
                self._failures.failed(key, "its submission has no answer yet", self._context.clock.monotonic())
            else:
                absent.append(key)
        return absent

    def _failed(self, key: str, answer: Answer) -> None:
        failure = self._failures.failed(key, str(answer.error), self._context.clock.monotonic())
        if failure.count == 1:
            log.warning("%s cannot be stopped at the builder yet: %s", key, answer.error)
