"""What a build says."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from msgspec import Struct
from sqlalchemy import Connection, Engine

from rebuilder.builders.protocol import Builder, LogKeeping, Testing
from rebuilder.config import Settings
from rebuilder.domain.errors import UnknownError
from rebuilder.domain.lifecycle import LIVE, RebuildRecord, State
from rebuilder.engine import factory
from rebuilder.queries.answer import Answer
from rebuilder.store import rebuild_progress, rebuilds, search, waves
from rebuilder.store.database import reading
from rebuilder.store.rebuild_progress import Attempt

LONGEST = 1_000_000  # characters
LATE_SECONDS = 60.0


class LogChunk(Answer):
    """A part of a build's log. The next part begins at `next`; while `live`, more will come.

    `built` is false where rebuilder has not built the image yet. `rebuild` and `attempt` say which build it is.
    """

    text: str
    next: int
    live: bool
    built: bool
    rebuild: int | None = None
    attempt: int | None = None


class Build(Struct, frozen=True):
    """A build that has a log: an attempt of a rebuild, and whether it is the last one; with `test`, its test's log."""

    entry: RebuildRecord
    attempt: Attempt
    last: bool
    test: bool = False

    @property
    def runs(self) -> bool:
        """Whether it is being built, or tested."""
        return self.last and (self.entry.state is State.TESTING if self.test else self.entry.state in LIVE)


def build_of(connection: Connection, rebuild_id: int, attempt: int | None, test: bool = False) -> Build | None:
    """That attempt of a rebuild, else its last one; None where nothing was built for it yet. With `test`, its test.

    Raises UnknownError where there is no such rebuild, or attempt.
    """
    entry = rebuild_progress.find(connection, rebuild_id) if rebuild_id < waves.LARGEST else None
    if entry is None:
        raise UnknownError(f"there is no rebuild {rebuild_id}")
    attempts = rebuild_progress.attempts_of(connection, entry)
    if not attempts and attempt is None:
        return None
    number = len(attempts) if attempt is None else attempt
    if not 0 < number <= len(attempts):
        there = f"it has {len(attempts)}" if attempts else "it has not been built yet"
        raise UnknownError(f"rebuild {rebuild_id} has no attempt {attempt}: {there}")
    return Build(entry, attempts[number - 1], number == len(attempts) and attempts[-1].ref == entry.ref, test)


class Logs:
    """Reads logs with one builder, which is made for the first log that is asked for. Threads may share it.

    A builder keeps where it is in the logs that it reads: who follows one should ask the same Logs each time.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings
        self._lock = threading.Lock()
        self._made: Builder | None = None

    def read(self, image: str, offset: int, test: bool = False) -> LogChunk:
        """The log of an image's last build, or of its test, from `offset` characters on.

        Raises UnknownError for an unknown image.

        The builder may raise InfrastructureError.
        """
        with reading(self._engine) as connection:
            entry = rebuilds.latest_of_image(connection, search.image_named(connection, image))
            build = build_of(connection, entry.id, None, test) if entry is not None else None
        if entry is None or not entry.ref or build is None:
            return LogChunk(text="", next=offset, live=entry is not None and entry.state in LIVE, built=False)
        return self._part(build, offset)

    def of_rebuild(self, rebuild_id: int, attempt: int | None, offset: int, test: bool = False) -> LogChunk:
        """The same of an attempt of a rebuild, or of its last one. Raises UnknownError where there is none."""
        with reading(self._engine) as connection:
            build = build_of(connection, rebuild_id, attempt, test)
        if build is None:
            return LogChunk(text="", next=offset, live=True, built=False, rebuild=rebuild_id)
        return self._part(build, offset)

    def text(self, build: Build, offset: int = 0) -> Iterator[str]:
        """The log from there on, piece by piece. The builder may raise InfrastructureError.

        Raises UnknownError for the test of a builder that runs none.
        """
        if not build.test:
            return self._builder.log(build.attempt.ref, offset)
        if not isinstance(self._builder, Testing):
            raise UnknownError(f"the builder {self._builder.name} runs no tests: whoever does has the log")
        return self._builder.test_log(build.attempt.ref, offset)

    def _part(self, build: Build, offset: int) -> LogChunk:
        entry, attempt = build.entry, build.attempt
        parts: list[str] = []
        for text in self.text(build, offset):
            parts.append(text)
            if sum(map(len, parts)) >= LONGEST:
                break
        text = "".join(parts)[:LONGEST]
        more = len(text) == LONGEST or build.runs or (build.last and not build.test and self._comes_late(entry))
        following = offset + len(text)
        return LogChunk(text=text, next=following, live=more, built=True, rebuild=entry.id, attempt=attempt.number)

    def _comes_late(self, entry: RebuildRecord) -> bool:
        """Whether the end of the log may still come, some moments after the end of the build."""
        builder = self._builder
        if entry.ended_at is None or time.time() - entry.ended_at > LATE_SECONDS:
            return False
        return isinstance(builder, LogKeeping) and not builder.log_is_whole(entry.ref)

    @property
    def _builder(self) -> Builder:
        with self._lock:
            if self._made is None:
                self._made = factory.builder_for(self._engine, self._settings)
            return self._made

    def close(self) -> None:
        """Let go of the builder; builds go on."""
        with self._lock:
            if self._made is not None:
                self._made.close()
                self._made = None
