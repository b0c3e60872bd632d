"""What the engine asks Koji about changes, again and again until it is answered."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from sqlalchemy import Connection

from rebuilder.engine.backoff import Backoff, Failure
from rebuilder.engine.calls import Answer, Kind
from rebuilder.engine.context import Context
from rebuilder.store.database import reading

log = logging.getLogger(__name__)
LONGEST_PAUSE = 300.0


class KojiQuestion(ABC):
    """One question at a time, of one kind, with a pause that grows while Koji is away."""

    kinds: frozenset[Kind]  # the one kind of its calls
    woken_by: frozenset[Kind]
    complaint: ClassVar[str] = ""  # what the log says, once, where it is unreachable
    needs_hub: ClassVar[bool] = True  # whether there is nothing to ask without a Koji

    def __init__(self, context: Context) -> None:
        self._context = context
        (self._kind,) = self.kinds
        self._failures = Backoff(context.settings.koji.poll_seconds, LONGEST_PAUSE)

    @property
    def failure(self) -> Failure | None:
        """Why it is not answered, where it is not."""
        return self._failures.of(self._kind)

    def ask(self) -> None:
        """Ask what there is to be asked, where it is time to."""
        context, kind = self._context, self._kind
        if self.needs_hub and context.hub is None:
            return
        with reading(context.engine) as connection:
            question = self._question(connection)
        if question is not None and not self._failures.resting(kind, context.clock.monotonic()):
            context.calls.start(kind, kind, question)

    def record(self, connection: Connection, answers: Sequence[Answer]) -> int:
        """Take in what was answered."""
        done = 0
        for answer in answers:
            if answer.error is None:
                self._failures.succeeded(self._kind)
                done += self._take(connection, answer.value)
                continue
            failure = self._failures.failed(self._kind, str(answer.error), self._context.clock.monotonic())
            if failure.count == 1 and self.complaint:
                log.warning("%s: %s", self.complaint, answer.error)
        return done

    @abstractmethod
    def _question(self, connection: Connection) -> Callable[[], Any] | None:
        """The call to be made now; None where there is nothing to ask."""

    @abstractmethod
    def _take(self, connection: Connection, answered: Any) -> int:
        """Record the answer; how much of it lets others go on."""
