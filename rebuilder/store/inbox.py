"""The inbox: messages as they came, once each, until the engine has read them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, func, select, update

from rebuilder.domain.message import Received
from rebuilder.store.models import Message
from rebuilder.store.rows import insert_one


@dataclass(frozen=True, slots=True)
class Kept:
    """A message of the inbox with what became of it."""

    seq: int
    message: Received
    received_at: float
    state: str
    reason: str


def receive(engine: Engine, messages: Sequence[Received], now: float | None = None) -> list[bool]:
    """Keep these messages, durably, in one transaction. For each: True if it is new, False for a duplicate."""
    at = time.time() if now is None else now
    with engine.begin() as connection:
        return [insert_one(connection, Message, _row(message, at)) for message in messages]


def _row(message: Received, at: float) -> dict[str, object]:
    return {
        "id": message.id,
        "topic": message.topic,
        "headers": message.headers,
        "body": message.body,
        "received_at": at,
    }


def unread(connection: Connection, limit: int) -> list[Kept]:
    """The oldest messages that nobody has acted on yet."""
    return _kept(connection, Message.state == "new", Message.seq, limit)


def listing(connection: Connection, state: str | None, limit: int) -> list[Kept]:
    """The newest messages, of one state or of all."""
    return _kept(connection, (Message.state == state) if state else None, Message.seq.desc(), limit)


def _kept(connection: Connection, condition: object, order: object, limit: int) -> list[Kept]:
    query = select(Message.__table__).order_by(order).limit(limit)  # type: ignore[arg-type]
    if condition is not None:
        query = query.where(condition)  # type: ignore[arg-type]
    return [
        Kept(row.seq, Received(row.id, row.topic, row.headers, row.body), row.received_at, row.state, row.reason)
        for row in connection.execute(query)
    ]


def mark(connection: Connection, seq: int, state: str, reason: str = "") -> None:
    """Record what became of a message: `accepted`, `ignored` or `rejected`, and why."""
    connection.execute(update(Message).where(Message.seq == seq).values(state=state, reason=reason))


def counts(connection: Connection) -> Mapping[str, int]:
    """How many messages there are in each state."""
    rows = connection.execute(select(Message.state, func.count()).group_by(Message.state))
    return {row[0]: row[1] for row in rows}
