"""An engine that waits until it may act: any number of them may run beside the one that does."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from rebuilder.domain.errors import RequestError, UnreachableError
from rebuilder.store import heartbeats
from rebuilder.store.database import first_line
from rebuilder.store.lease import Candidate, Term

log = logging.getLogger(__name__)
LOOK_SECONDS = 0.5
BEAT_SECONDS = 5.0


def await_term(
    candidate: Candidate, engine: Engine, stop: threading.Event, alive: Callable[[], None], *, until_idle: bool
) -> Term | None:
    """The term, once it may act; None where `stop` was set first.

    With `until_idle` it waits for no engine that acts: raises RequestError, and UnreachableError without the database.
    """
    waiting = _Waiting(engine, candidate.owner)
    try:
        while not stop.is_set():
            try:
                if (term := candidate.look()) is not None:
                    return term
                if not until_idle:
                    waiting.beat()
                elif candidate.renewed:
                    raise RequestError("another engine runs on this database")
            except DBAPIError as error:
                if until_idle:
                    raise UnreachableError(f"database: {first_line(error)}") from None
                waiting.failed(error)
            alive()
            stop.wait(LOOK_SECONDS)
        return None
    finally:
        waiting.over()


class _Waiting:
    """Says in the database, and once in the log, that this engine waits."""

    def __init__(self, engine: Engine, owner: str) -> None:
        self._engine, self._owner = engine, owner
        self._beat_at = self._complain_at = 0.0
        self._told = False

    def beat(self) -> None:
        if time.monotonic() < self._beat_at:
            return
        if not self._told:
            log.info("another engine acts: this one (%s) stands by", self._owner)
            self._told = True
        with self._engine.begin() as connection:
            heartbeats.stands_by(connection, self._owner, BEAT_SECONDS, time.time())
        self._beat_at = time.monotonic() + BEAT_SECONDS

    def failed(self, error: DBAPIError) -> None:
        if time.monotonic() >= self._complain_at:
            log.error("database: %s; looking again", first_line(error))
            self._complain_at = time.monotonic() + BEAT_SECONDS

    def over(self) -> None:
        """It waits no more. A database that is away keeps nobody: the heartbeat grows old."""
        if self._told:
            log.info("this engine (%s) waits no more", self._owner)
            with suppress(DBAPIError), self._engine.begin() as connection:
                heartbeats.stands_by_no_more(connection, self._owner)
