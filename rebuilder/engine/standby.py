"""Waiting until one may act: any number of engines, and publishers, may run beside the one that does."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from rebuilder.domain.errors import RequestError, UnreachableError
from rebuilder.store import heartbeats
from rebuilder.store.database import first_line
from rebuilder.store.lease import Candidate, Role, Term, own_name

log = logging.getLogger(__name__)
LOOK_SECONDS = 0.5
BEAT_SECONDS = 5.0


@contextmanager
def next_term(
    engine: Engine, role: Role, stop: threading.Event, alive: Callable[[], None], *, until_idle: bool = False
) -> Iterator[Term | None]:
    """The next term of this process, which is released after the block; None where `stop` was set first.

    With `until_idle` it waits for no other that acts: raises RequestError, and UnreachableError without the database.
    """
    with closing(Candidate(engine, own_name(), role=role)) as candidate:
        term = _await(candidate, engine, stop, alive, until_idle)
        try:
            yield term
        finally:
            if term is not None:
                _release(term)


def _release(term: Term) -> None:
    with suppress(DBAPIError):  # without the database the lease expires all the same
        term.release()


def _await(
    candidate: Candidate, engine: Engine, stop: threading.Event, alive: Callable[[], None], until_idle: bool
) -> Term | None:
    waiting = _Waiting(engine, candidate)
    acquire = _acquire_once if until_idle else waiting.acquire
    try:
        while not stop.is_set():
            if (term := acquire(candidate)) is not None:
                return term
            alive()
            stop.wait(LOOK_SECONDS)
        return None
    finally:
        waiting.over()


def _acquire_once(candidate: Candidate) -> Term | None:
    """Who waits for no other that acts. Raises RequestError, and UnreachableError without the database."""
    try:
        term = candidate.try_acquire()
    except DBAPIError as error:
        raise UnreachableError(f"database: {first_line(error)}") from None
    if term is None and candidate.renewed:
        raise RequestError(f"another {candidate.role} runs on this database")
    return term


class _Waiting:
    """Says once in the log that this one waits; of an engine also in the database."""

    def __init__(self, engine: Engine, candidate: Candidate) -> None:
        self._engine, self._owner, self._role = engine, candidate.owner, candidate.role
        self._beat_at = self._complain_at = 0.0
        self._told = False

    def acquire(self, candidate: Candidate) -> Term | None:
        """The lease, where it can be had now; that this one waits, where not."""
        try:
            term = candidate.try_acquire()
            if term is None:
                self.beat()
        except DBAPIError as error:
            self.failed(error)
            return None
        return term

    def beat(self) -> None:
        if time.monotonic() < self._beat_at:
            return
        if not self._told:
            log.info("another %s acts: this one (%s) stands by", self._role, self._owner)
            self._told = True
        if self._role is Role.ENGINE:
            with self._engine.begin() as connection:
                heartbeats.stands_by(connection, self._owner, BEAT_SECONDS, time.time())
        self._beat_at = time.monotonic() + BEAT_SECONDS

    def failed(self, error: DBAPIError) -> None:
        if time.monotonic() >= self._complain_at:
            log.error("database: %s; looking again", first_line(error))
            self._complain_at = time.monotonic() + BEAT_SECONDS

    def over(self) -> None:
        """It waits no more. Without the database the heartbeat grows old all the same."""
        if not self._told:
            return
        log.info("this %s (%s) stops waiting", self._role, self._owner)
        if self._role is Role.ENGINE:
            with suppress(DBAPIError), self._engine.begin() as connection:
                heartbeats.stands_by_no_more(connection, self._owner)
