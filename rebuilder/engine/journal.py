"""Keeps SQLite's journal from growing without an end, which it does where somebody always reads."""

from __future__ import annotations

import logging

from sqlalchemy import Engine

from rebuilder.engine.clock import Clock
from rebuilder.store import sqlite_file

log = logging.getLogger(__name__)
EVERY_SECONDS = 60.0
TELL_SECONDS = 3600.0


class Journal:
    """Looks at it now and then."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine, self._clock = engine, clock
        self._look_at = clock.monotonic() + EVERY_SECONDS
        self._tell_at = clock.monotonic()

    def check(self) -> None:
        """Have it begun anew where it grew long; say so where somebody who reads keeps it."""
        now = self._clock.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + EVERY_SECONDS
        size = sqlite_file.relieve(self._engine)
        if size and now >= self._tell_at:
            self._tell_at = now + TELL_SECONDS
            message = "database: its journal has grown to %d MB, because a reader has kept it open for long: `fuser %s`"
            log.warning(message, size // 1_000_000, self._engine.url.database)
