"""Answers that are kept for as long as nothing in the database changes: they are never out of date.

What counts is the state that the reading transaction itself sees, as the database numbers it. Whatever is committed,
by any process, makes that another one, and everything is computed anew.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from sqlalchemy import Connection, text

from rebuilder.store.sqlite_file import READING

MOST = 32  # answers of each connection
_KEPT, _SEEN = "rebuilder.read_cache", "rebuilder.snapshot"
# A snapshot says which transactions are seen. That of a standby does not: it leaves out those under way.
_SNAPSHOT = text("SELECT CASE WHEN NOT pg_is_in_recovery() THEN pg_current_snapshot()::text END")

Answer = TypeVar("Answer")


def cached(connection: Connection, key: Hashable, compute: Callable[[], Answer], of: Hashable = None) -> Answer:
    """What `compute` makes of the database, which must depend on that, `key` and `of` alone; callers do not change it.

    Of the answers to a key the last one is kept: `of` is for what does not come again, as a moment. Only in
    transactions that just read: what another writes may be rolled back.
    """
    version = _version(connection)
    if version is None:
        return compute()
    seen, kept = connection.info.get(_KEPT, (None, {}))
    if seen != version or len(kept) >= MOST:
        kept = {}
        connection.info[_KEPT] = version, kept
    if key not in kept or kept[key][0] != of:
        kept[key] = of, compute()
    answer: Answer = kept[key][1]
    return answer


def kept(connection: Connection, key: Hashable) -> Any:
    """The answer to the key, where it was computed of what this transaction sees; None where it was not."""
    seen, answers = connection.info.get(_KEPT, (None, {}))
    same = key in answers and seen == _version(connection)
    return answers[key][1] if same else None


def _version(connection: Connection) -> Hashable | None:
    """What differs whenever this transaction sees something else than an earlier one of the connection; None: unknown.

    SQLite's number stands still for what the connection itself wrote, which its driver counts.
    """
    options = connection.get_execution_options()
    if any(options.get(name) != value for name, value in READING.items()):
        return None
    if connection.dialect.name == "postgresql":
        return _snapshot(connection)
    driver: Any = connection.connection.driver_connection
    return connection.exec_driver_sql("PRAGMA data_version").scalar(), driver.total_changes


def _snapshot(connection: Connection) -> str | None:
    """What the transaction sees: asked once, as one that only reads sees the same throughout."""
    transaction = connection.get_transaction()
    seen, snapshot = connection.info.get(_SEEN, (None, None))
    if seen is None or seen is not transaction:
        snapshot = connection.scalar(_SNAPSHOT)
        connection.info[_SEEN] = transaction, snapshot
    snapshot_text: str | None = snapshot
    return snapshot_text
