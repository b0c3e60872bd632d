"""SQL statements are compiled once for all databases of one kind: a test has a database of its own, not statements.

An engine of SQLAlchemy keeps what it compiled, and goes with its test. Compiling the statements of a few passes takes
longer than their execution.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import Dialect

Key = tuple[Any, ...]


class Statements(dict[Key, Any]):
    """What SQLAlchemy compiled, by the statement and by what kind of database it is for rather than which engine's."""

    def get(self, key: Key, default: Any = None) -> Any:
        return super().get(_of_any_engine(key), default)

    def __setitem__(self, key: Key, compiled: Any) -> None:
        super().__setitem__(_of_any_engine(key), compiled)


def _of_any_engine(key: Key) -> Key:
    return tuple((part.name, part.driver, part.server_version_info) if isinstance(part, Dialect) else part
                 for part in key)  # fmt: skip


def share() -> None:
    """From now on, for every engine of this process."""
    compiled = Statements()

    def look_there(connection: Connection) -> None:
        connection.execution_options(compiled_cache=compiled)

    event.listen(Engine, "engine_connect", look_there)
