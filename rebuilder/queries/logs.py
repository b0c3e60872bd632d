"""What a build says."""

from __future__ import annotations

import threading
import time

from sqlalchemy import Engine

from rebuilder.builders.protocol import Builder, LogKeeping
from rebuilder.config import Settings
from rebuilder.domain.lifecycle import LIVE
from rebuilder.engine import factory
from rebuilder.queries.answer import Answer
from rebuilder.store import rebuilds, search
from rebuilder.store.database import reading
from rebuilder.store.rebuilds import RebuildRecord

LONGEST = 1_000_000  # characters
LATE_SECONDS = 60.0


class LogChunk(Answer):
    """A part of the log of an image's last build. The next part begins at `next`; while `live`, more will come.

    `built` is false where rebuilder has not built the image yet.
    """

    text: str
    next: int
    live: bool
    built: bool


class Logs:
    """Reads logs with one builder, which is made for the first log that is asked for. Threads may share it.

    A builder keeps where it is in the logs that it reads: who follows one should ask the same Logs each time.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings
        self._lock = threading.Lock()
        self._made: Builder | None = None

    def read(self, image: str, offset: int) -> LogChunk:
        """The log from `offset` characters on. Raises UnknownError for an unknown image.

        The builder may raise InfrastructureError.
        """
        with reading(self._engine) as connection:
            entry = rebuilds.latest_of_image(connection, search.image_named(connection, image))
        if entry is None or not entry.ref:
            return LogChunk(text="", next=offset, live=entry is not None and entry.state in LIVE, built=False)
        found: list[str] = []
        for text in self._builder.log(entry.ref, offset):
            found.append(text)
            if sum(map(len, found)) >= LONGEST:
                break
        text = "".join(found)[:LONGEST]
        more = len(text) == LONGEST or entry.state in LIVE or self._comes_late(entry)
        return LogChunk(text=text, next=offset + len(text), live=more, built=True)

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
