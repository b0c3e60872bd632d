"""What every part of the engine works with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct
from sqlalchemy import Connection, Engine

from rebuilder.builders.protocol import Builder
from rebuilder.config import Settings
from rebuilder.engine.calls import Answer, Calls, Kind
from rebuilder.engine.clock import Clock
from rebuilder.inventory.koji.session import KojiSession
from rebuilder.store.transitions import Transitions


class Context(Struct, frozen=True):
    """The database, the settings, the peers, and the calls to them. `hub` is None where there is no Koji."""

    engine: Engine
    settings: Settings
    builder: Builder
    hub: KojiSession | None
    clock: Clock
    calls: Calls

    def transitions(self, connection: Connection) -> Transitions:
        """The door for changes of state, in the connection's transaction."""
        return Transitions(connection, self.clock.now(), self.settings.max_attempts)


class Controller(Protocol):
    """Asks the world for one kind of thing, as the controllers of Kubernetes do.

    Its memory may be lost: the database has all that counts.
    """

    kinds: frozenset[Kind]  # the calls that it makes
    woken_by: frozenset[Kind]  # the answers after which it has more to ask

    def ask(self) -> None:
        """Start the calls that are due. No transaction is open meanwhile."""

    def record(self, connection: Connection, answers: Sequence[Answer]) -> int:
        """Record what came of them, in the connection's transaction; how much of it lets others go on."""
