"""The inbox: messages as they came, once each, until the engine has read them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, func, select, update

from rebuilder.domain.message import Received
from rebuilder.store import tallies
from rebuilder.store.models import Message
from rebuilder.store.rows import insert_one
from rebuilder.store.tallies import Counted

ENDED = ("accepted", "ignored", "rejected")


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
        new = [insert_one(connection, Message, _row(message, at)) for message in messages]
        if twice := new.count(False):
            tallies.add(connection, {"message": {"duplicate": Counted(twice)}})
    return new


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
    tallies.one(connection, "message", state)


def counts(connection: Connection) -> Mapping[str, int]:
    """How many messages are unread, and what became of those that were read; states that no message had are left out.

    Those that were read are counted for ever, whether they are still kept or not.
    """
    unread = connection.scalar(select(func.count()).select_from(Message).where(Message.state == "new")) or 0
    told = tallies.read(connection, "message")
    found = {"new": unread, **{state: told[state].count for state in ENDED if state in told}}
    return {state: count for state, count in found.items() if count}


def oldest_unread(connection: Connection) -> float | None:
    """When the message that waits longest was received."""
    query = select(Message.received_at).where(Message.state == "new").order_by(Message.seq).limit(1)
    return connection.scalar(query)
