"""Answers that are kept for as long as nothing in the database changes: they are never out of date.

What counts is the state that the reading transaction itself sees, as the database numbers it. Whatever is committed,
by any process, makes that another one, and everything is computed anew.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from sqlalchemy import Connection, text

from rebuilder.store.sqlite_file import READING

MOST = 16  # answers of each connection
_KEPT = "rebuilder.read_cache"
# A snapshot says which transactions are seen. That of a standby does not: it leaves out those under way.
_SNAPSHOT = text("SELECT CASE WHEN NOT pg_is_in_recovery() THEN pg_current_snapshot()::text END")

Answer = TypeVar("Answer")


def cached(connection: Connection, key: Hashable, compute: Callable[[], Answer]) -> Answer:
    """What `compute` makes of the database, which must depend on that and on `key` alone; callers do not change it.

    Only in transactions that just read: what another writes may be rolled back.
    """
    version = _version(connection)
    if version is None:
        return compute()
    seen, kept = connection.info.get(_KEPT, (None, {}))
    if seen != version or len(kept) >= MOST:
        kept = {}
        connection.info[_KEPT] = version, kept
    if key not in kept:
        kept[key] = compute()
    found: Answer = kept[key]
    return found


def _version(connection: Connection) -> Hashable | None:
    """What differs whenever this transaction sees something else than an earlier one of the connection; None: unknown.

    SQLite's number stands still for what the connection itself wrote, which its driver counts.
    """
    options = connection.get_execution_options()
    if any(options.get(name) != value for name, value in READING.items()):
        return None
    if connection.dialect.name == "postgresql":
        snapshot: str | None = connection.scalar(_SNAPSHOT)
        return snapshot
    driver: Any = connection.connection.driver_connection
    return connection.exec_driver_sql("PRAGMA data_version").scalar(), driver.total_changes
