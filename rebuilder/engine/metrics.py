"""What the engine counts and times, and tells other processes through the database."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from sqlalchemy import Connection

from rebuilder.domain.build import BuildRejected
from rebuilder.engine.calls import Answer, Kind
from rebuilder.engine.clock import Clock
from rebuilder.store import counters, heartbeats
from rebuilder.store.counters import StoredCounter
from rebuilder.store.heartbeats import Activity

BEAT_SECONDS = 1.0
BUILDER = frozenset({Kind.SUBMIT, Kind.FIND, Kind.POLL, Kind.RESULT, Kind.CANCEL})
REMEMBERED = 100_000  # keys of submitted builds


class Metrics:
    """Counts and lengths since the last heartbeat, and how the builder answers."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._counted: dict[str, dict[str, StoredCounter]] = {}
        self._beat_at = 0.0
        self._submitted: set[str] = set()
        self._order: deque[str] = deque()
        self.unreachable = ""  # what the builder's calls have failed with since its last answer
        self.unreachable_since = 0.0  # seconds since the epoch

    def count(self, name: str, label: str, seconds: float = 0.0) -> None:
        """It happened once more, and took so long."""
        for table, more in counters.timed(name, label, seconds).items():
            labels = self._counted.setdefault(table, {})
            for one, counted in more.items():
                before = labels.get(one, StoredCounter(0))
                labels[one] = StoredCounter(before.count + counted.count, before.seconds + counted.seconds)

    def answered(self, answers: Iterable[Answer]) -> None:
        """Calls were answered, or ran out of time."""
        for answer in answers:
            if not answer.late:
                self.count("builder" if answer.kind in BUILDER else "call", answer.kind, answer.seconds)
            if answer.kind in BUILDER:
                self._of_builder(answer)

    def _of_builder(self, answer: Answer) -> None:
        if answer.error is not None and not isinstance(answer.error, BuildRejected):
            self.count("trouble", answer.kind)
            if not self.unreachable:
                self.unreachable_since = self._clock.now()
            self.unreachable = str(answer.error)
            return
        self.unreachable = ""
        if answer.kind is Kind.SUBMIT and answer.error is None:
            self._was_submitted(str(answer.subject))

    def _was_submitted(self, key: str) -> None:
        """Notice a key that is submitted twice, which must not happen."""
        if key in self._submitted:
            self.count("submission", "duplicate")
        self._submitted.add(key)
        self._order.append(key)
        if len(self._order) > REMEMBERED:
            self._submitted.discard(self._order.popleft())

    @property
    def due(self) -> bool:
        """Whether it is time for a heartbeat."""
        return self._clock.monotonic() >= self._beat_at

    def beat(self, connection: Connection, activity: Callable[[], Activity]) -> None:
        """A heartbeat of the engine, with all that was counted. What is not committed is counted no more."""
        now = self._clock.now()
        counters.add(connection, self._counted)
        heartbeats.record_heartbeat(connection, "engine", BEAT_SECONDS, now, detail=activity())
        heartbeats.record_heartbeat(connection, "builder", BEAT_SECONDS, now, self.unreachable)
        self._counted.clear()
        self._beat_at = self._clock.monotonic() + BEAT_SECONDS
