"""What is in the database, for a report of a fault: how much of everything, and the newest of what happens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, func, select

from rebuilder.store.models import Action, Base, Change, Heartbeat, Lease, Message, Rebuild, Transition


def sizes(connection: Connection) -> dict[str, int]:
    """The rows of each table. Reads all of them: nothing for a page that is often asked for."""
    tables = Base.metadata.sorted_tables
    return {table.name: connection.scalar(select(func.count()).select_from(table)) or 0 for table in tables}


def newest(connection: Connection, limit: int) -> dict[str, list[dict[str, Any]]]:
    """The newest rows of what happens, newest first: as they are stored, but without bodies of messages."""
    queries: dict[str, Select[Any]] = {
        "messages": select(*_but(Message, "body", "headers")).order_by(Message.seq.desc()),
        "changes": select(*_but(Change)).order_by(Change.id.desc()),
        "rebuilds": select(*_but(Rebuild)).order_by(Rebuild.id.desc()),
        "transitions": select(*_but(Transition)).order_by(Transition.id.desc()),
        "actions": select(*_but(Action)).order_by(Action.id.desc()),
    }
    tables = {name: _rows(connection.execute(query.limit(limit)).all()) for name, query in queries.items()}
    alive = {"heartbeats": select(*_but(Heartbeat)), "leases": select(*_but(Lease))}
    return tables | {name: _rows(connection.execute(query).all()) for name, query in alive.items()}


def _but(model: type[Base], *left_out: str) -> list[Any]:
    return [column for column in model.__table__.columns if column.name not in left_out]


def _rows(rows: Sequence[Row[Any]]) -> list[dict[str, Any]]:
    return [dict(row._mapping) for row in rows]
