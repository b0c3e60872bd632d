"""Small helpers that both databases understand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import DeclarativeBase

T = TypeVar("T")
CHUNK = 5000


def insert_new(connection: Connection, model: type[DeclarativeBase], rows: Sequence[dict[str, Any]]) -> None:
    """Insert the rows that no unique key of the model has yet."""
    if rows:
        connection.execute(_insert(model, connection.dialect.name), rows)


def insert_one(connection: Connection, model: type[DeclarativeBase], row: dict[str, Any]) -> bool:
    """Insert the row unless a unique key of the model has it; whether it is new.

    Asked by what comes back: the drivers do not agree on what they count.
    """
    return connection.execute(_insert_one(model, connection.dialect.name), row).first() is not None


@cache
def _insert(model: type[DeclarativeBase], dialect: str) -> Any:
    """Made once: the consumer asks for it with every message."""
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    return insert(model).on_conflict_do_nothing()


@cache
def _insert_one(model: type[DeclarativeBase], dialect: str) -> Any:
    return _insert(model, dialect).returning(*model.__table__.primary_key)


def chunks(items: Sequence[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    """The items in pieces that fit into one statement."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
