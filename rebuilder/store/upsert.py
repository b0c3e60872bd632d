"""Small helpers that both databases understand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from importlib import import_module
from typing import Any, TypeVar

from sqlalchemy import BindParameter, Connection, FromClause, Integer, bindparam

from rebuilder.store.models import Base

T = TypeVar("T")
Row = tuple[int, ...]
CHUNK = 5000


def insert_of(dialect: str) -> Any:
    """The dialect's own `insert`, which has ON CONFLICT."""
    return import_module(f"sqlalchemy.dialects.{dialect}").insert  # each takes a while to load


def insert_new(connection: Connection, model: type[Base], rows: Sequence[dict[str, Any]]) -> None:
    """Insert the rows that no unique key of the model has yet."""
    if rows:
        connection.execute(_insert(model.__table__, connection.dialect.name), rows)


def insert_one(connection: Connection, model: type[Base], row: dict[str, Any]) -> bool:
    """Insert the row unless a unique key of the model has it; whether it is new.

    Asked by what comes back: the drivers do not agree on what they count.
    """
    return connection.execute(_insert_one(model.__table__, connection.dialect.name), row).first() is not None


def load(connection: Connection, model: type[Base], columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Insert very many rows, none of which is there: as fast as each database can, which is ten times."""
    table, names = model.__tablename__, ", ".join(columns)
    if connection.dialect.name == "postgresql":
        cursor: Any = connection.connection.cursor()
        with cursor, cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
    elif rows:
        marks = ", ".join("?" for _ in columns)
        connection.exec_driver_sql(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(rows))


def refresh_statistics(connection: Connection) -> None:
    """PostgreSQL plans queries by them, and makes them on its own only minutes after much has changed.

    Of our tables alone: those that all databases of a server share would keep others waiting until the commit.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"ANALYZE {', '.join(Base.metadata.tables)}")


@cache
def _insert(table: FromClause, dialect: str) -> Any:
    """Made once: the consumer asks for it with every message."""
    return insert_of(dialect)(table).on_conflict_do_nothing()


@cache
def _insert_one(table: FromClause, dialect: str) -> Any:
    return _insert(table, dialect).returning(*table.primary_key)


def numbers(name: str) -> BindParameter[Any]:
    """What a column of numbers is IN, given under this name when the statement is executed.

    Written into the statement: PostgreSQL's driver takes a long list of parameters apart each time anew, which takes
    longer than all that the database does with it.
    """
    return bindparam(name, type_=Integer, expanding=True, literal_execute=True)


def chunks(items: Sequence[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    """The items in pieces that fit into one statement."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
