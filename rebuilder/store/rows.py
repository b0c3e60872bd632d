"""Small helpers that both databases understand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import Connection, Insert
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import DeclarativeBase

T = TypeVar("T")
CHUNK = 5000


def insert_new(connection: Connection, model: type[DeclarativeBase], rows: Sequence[dict[str, Any]]) -> int:
    """Insert the rows that no unique key of the model has yet; how many were inserted (exact for a single row)."""
    if not rows:
        return 0
    statement = _insert(model, connection.dialect.name)
    return connection.execute(statement, rows[0] if len(rows) == 1 else rows).rowcount


@cache
def _insert(model: type[DeclarativeBase], dialect: str) -> Insert:
    """Made once: the consumer asks for it with every message."""
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    return insert(model).on_conflict_do_nothing()


def chunks(items: Sequence[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    """The items in pieces that fit into one statement."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
