"""What the engine measures of itself, and tells other processes through the database."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from sqlalchemy import Connection

from rebuilder.builders.protocol import Builder
from rebuilder.domain.build import BuildRequest, InfrastructureError, Status, Submission
from rebuilder.domain.image import ImageBuild
from rebuilder.store import heartbeats, tallies
from rebuilder.store.tallies import Counted

BEAT_SECONDS = 10.0
REMEMBERED = 100_000  # keys of submitted builds
T = TypeVar("T")


class Gauge:
    """Counts and lengths since the last heartbeat."""

    def __init__(self) -> None:
        self._counted: dict[str, dict[str, Counted]] = {}
        self._beaten = 0.0
        self.trouble = ""  # the builder's, since its last answer

    def count(self, name: str, label: str, seconds: float = 0.0) -> None:
        """It happened once more, and took so long."""
        found = self._counted.setdefault(name, {})
        so_far = found.get(label, Counted(0))
        found[label] = Counted(so_far.count + 1, so_far.seconds + seconds)

    def timed(self, name: str, label: str, call: Callable[[], T]) -> T:
        """Call it, and count how long it took."""
        began = time.monotonic()
        try:
            return call()
        finally:
            self.count(name, label, time.monotonic() - began)

    def due(self, now: float) -> bool:
        """Whether it is time for a heartbeat."""
        return not 0 <= now - self._beaten < BEAT_SECONDS

    def beat(self, connection: Connection, now: float) -> None:
        """The engine got on: say so, with all that was counted. What is not committed is counted no more."""
        tallies.add(connection, self._counted)
        heartbeats.beat(connection, "engine", BEAT_SECONDS, now)
        heartbeats.beat(connection, "builder", BEAT_SECONDS, now, self.trouble)
        self._counted.clear()
        self._beaten = now


class Measured:
    """A builder whose calls are measured. It notices a key that is submitted twice, which must not happen."""

    def __init__(self, builder: Builder, gauge: Gauge) -> None:
        self.name = builder.name
        self._builder = builder
        self._gauge = gauge
        self._submitted: set[str] = set()
        self._order: deque[str] = deque()

    def submit(self, order: BuildRequest) -> Submission:
        if order.key in self._submitted:
            self._gauge.count("submission", "duplicate")
        found = self._call("submit", lambda: self._builder.submit(order))
        self._submitted.add(order.key)
        self._order.append(order.key)
        if len(self._order) > REMEMBERED:
            self._submitted.discard(self._order.popleft())
        return found

    def find(self, keys: Sequence[str]) -> Mapping[str, Submission]:
        return self._call("find", lambda: self._builder.find(keys))

    def poll(self, refs: Sequence[str]) -> Mapping[str, Status]:
        return self._call("poll", lambda: self._builder.poll(refs))

    def result(self, ref: str) -> ImageBuild:
        return self._call("result", lambda: self._builder.result(ref))

    def cancel(self, ref: str) -> None:
        self._call("cancel", lambda: self._builder.cancel(ref))

    def log(self, ref: str, offset: int = 0) -> Iterator[str]:
        return self._builder.log(ref, offset)

    def close(self) -> None:
        self._builder.close()

    def _call(self, name: str, call: Callable[[], T]) -> T:
        try:
            found = self._gauge.timed("builder", name, call)
        except InfrastructureError as trouble:
            self._gauge.count("trouble", name)
            self._gauge.trouble = str(trouble)
            raise
        self._gauge.trouble = ""
        return found
