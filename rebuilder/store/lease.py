"""The lease: one engine acts on a database, and one publisher; everything that they write proves that they may.

The owner's transactions begin with a renewal, in the transaction itself: once another has taken the lease, none of them
can be committed any more. No clock of another machine is trusted: who waits takes the lease when he has seen no renewal
for its whole length, by his own monotonic clock.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import IO

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, Engine, Update, event, select, update

from rebuilder.domain.errors import InfrastructureError
from rebuilder.store.database import reading
from rebuilder.store.models import Lease
from rebuilder.store.read_cache import cached
from rebuilder.store.sqlite_file import only_ours

OPTION = "term"
LEASE_SECONDS = 10.0
CONFIRMED_SECONDS = 1.0  # after a renewal no other is needed before a batch of submissions
SURE_SECONDS = 8.0  # after its last renewal the owner lets nothing out that cannot be taken back
ENDED_SECONDS = 3.0  # without a renewal, where the file's lock says too that the owner ended
GAP_SECONDS = 3.0  # between two looks: what was longer tells of us or of the database, not of the owner

Monotonic = Callable[[], float]


class Role(StrEnum):
    """What one process of many does at a time."""

    ENGINE = "engine"
    PUBLISHER = "publisher"


LOCK_FILES = {Role.ENGINE: ".lock", Role.PUBLISHER: ".publisher.lock"}  # beside SQLite's file


class LeaseLost(RuntimeError):
    """Another one acts: nothing of the transaction was written."""


class Held(Struct, frozen=True):
    """The lease as it stands. `owner` is empty where it is free."""

    owner: str
    epoch: int
    renewals: int


def read(connection: Connection, role: Role = Role.ENGINE) -> Held:
    """The lease as it stands."""
    return _read(connection, role)[0]


def let_go(connection: Connection, role: Role = Role.ENGINE) -> float | None:
    """When the last owner gave the lease up, in seconds since the epoch; None where one has it, or none ever had."""
    held, until = _read(connection, role)
    return until if not held.owner and held.epoch else None


def _read(connection: Connection, role: Role) -> tuple[Held, float]:
    """The lease, and until when it holds."""
    columns = Lease.owner, Lease.epoch, Lease.renewals, Lease.expires_at
    query = select(*columns).where(Lease.role == role)
    *held, until = cached(connection, ("lease", role), lambda: connection.execute(query).one())
    return Held(*held), until


def _lease_of(role: Role) -> Update:
    return update(Lease).where(Lease.role == role)


def own_name() -> str:
    """A name for this process that no other has, and that people can find it by."""
    return f"{socket.gethostname()[:80]}:{os.getpid()}:{secrets.token_hex(4)}"


class Term:
    """The time for which one process acts. What is written through `engine` is written only while it lasts."""

    def __init__(self, engine: Engine, role: Role, held: Held, renewed: float, monotonic: Monotonic) -> None:
        self._unfenced, self._held, self._renewed, self._monotonic = engine, held, renewed, monotonic
        self._role, self._lease = role, _lease_of(role)
        self._lost = False
        self.engine = engine.execution_options(**{OPTION: self})
        event.listen(self.engine, "begin", self._check)

    @property
    def owner(self) -> str:
        """Who acts."""
        return self._held.owner

    def _mine(self) -> tuple[ColumnElement[bool], ...]:
        return Lease.owner == self._held.owner, Lease.epoch == self._held.epoch

    def _check(self, connection: Connection) -> None:
        """Renew, as the first statement: the row stays locked until the commit, so no standby takes over in between."""
        if connection.get_execution_options().get("reading"):
            return
        renewal = self._lease.where(*self._mine()).values(
            renewals=Lease.renewals + 1, expires_at=time.time() + LEASE_SECONDS
        )
        if connection.execute(renewal).rowcount != 1:
            self._lost = True
            raise LeaseLost(f"another {self._role} acts on this database")

    def confirm(self, within: float = CONFIRMED_SECONDS) -> None:
        """Make sure that the lease is ours: nothing to do where that was committed a moment ago. Raises LeaseLost."""
        if self._lost or self._monotonic() - self._renewed > within:
            with renewing(self.engine):
                pass

    def now(self) -> float:
        """The moment, by the clock that the lease is measured with."""
        return self._monotonic()

    def renewed_at(self, moment: float) -> None:
        """A transaction that began then was committed."""
        self._renewed = moment

    @property
    def sure(self) -> bool:
        """Whether no other can act yet: the renewal is young enough."""
        return not self._lost and self._monotonic() - self._renewed < SURE_SECONDS

    def release(self) -> None:
        """Let the next one act at once; nothing where the lease is lost already."""
        self._lost = True
        with self._unfenced.begin() as connection:
            connection.execute(self._lease.where(*self._mine()).values(owner="", expires_at=time.time()))


@contextmanager
def renewing(engine: Engine) -> Iterator[Connection]:
    """A transaction that, once committed, has made the owner sure of its lease."""
    term = term_of(engine)
    began = term.now() if term else 0.0
    with engine.begin() as connection:
        yield connection
    if term is not None:
        term.renewed_at(began)


def term_of(engine: Engine) -> Term | None:
    """The term that what is written through this one belongs to."""
    term = engine.get_execution_options().get(OPTION)
    return term if isinstance(term, Term) else None


def check(term: Term | None) -> None:
    """To be called right before the world is changed, as a call may have waited, or the process been stopped.

    Raises InfrastructureError where another engine may act by now; nothing has arrived anywhere then.
    """
    if term is not None and not term.sure:
        raise InfrastructureError("this engine may not be the one that acts any more", arrived=False)


class Candidate:
    """One that would act, and looks from time to time whether it may."""

    def __init__(
        self, engine: Engine, owner: str, monotonic: Monotonic = time.monotonic, role: Role = Role.ENGINE
    ) -> None:
        self._engine, self._monotonic = engine, monotonic
        self.owner, self.role = owner, role
        self._seen: Held | None = None
        self._since = self._looked = 0.0
        self._file = _lock_file(engine, role)
        self._locked = False
        self.renewed = False  # whether the owner was seen to act

    def try_acquire(self) -> Term | None:
        """The term, where the lease is free, or its owner does not renew it any more."""
        with reading(self._engine) as connection:
            seen = read(connection, self.role)
        now = self._monotonic()
        if seen != self._seen or now - self._looked > GAP_SECONDS:
            before = self._seen
            self.renewed = before is not None and before.epoch == seen.epoch and before.renewals != seen.renewals
            self._seen, self._since = seen, now
        self._looked = now
        patience = ENDED_SECONDS if self._owner_ended() else LEASE_SECONDS
        return self._take(seen) if not seen.owner or now - self._since >= patience else None

    def _owner_ended(self) -> bool:
        """Whether the lock on SQLite's file is ours: the system takes it from a process that ends in whatever way."""
        if self._file is not None and not self._locked:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._locked = True
            except OSError:
                return False
        return self._locked

    def _take(self, seen: Held) -> Term | None:
        """Begin a term, unless the lease is no longer as it was seen."""
        began = self._monotonic()
        same = Lease.owner == seen.owner, Lease.epoch == seen.epoch, Lease.renewals == seen.renewals
        held = Held(self.owner, seen.epoch + 1, 0)
        with self._engine.begin() as connection:
            taken = connection.execute(
                _lease_of(self.role).where(*same).values(
                    owner=held.owner, epoch=held.epoch, renewals=0, expires_at=time.time() + LEASE_SECONDS
                )
            )
        return Term(self._engine, self.role, held, began, self._monotonic) if taken.rowcount == 1 else None

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()


def _lock_file(engine: Engine, role: Role) -> IO[str] | None:
    if engine.dialect.name != "sqlite":
        return None
    return open(f"{engine.url.database}{LOCK_FILES[role]}", "w", opener=only_ours)
