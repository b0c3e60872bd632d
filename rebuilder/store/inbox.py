"""The inbox: messages as they came, once each, until the engine has read them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from msgspec import Struct
from sqlalchemy import Connection, Engine, func, select, update

from rebuilder.domain.errors import RequestError, UnknownError
from rebuilder.domain.message import Delivery, IncomingMessage
from rebuilder.store import counters, dead_letters
from rebuilder.store.counters import StoredCounter
from rebuilder.store.data_errors import is_of_the_values, one_line
from rebuilder.store.models import Message
from rebuilder.store.upsert import insert_one

Fate = Literal["new", "duplicate", "dead"]
ENDED = ("accepted", "ignored", "rejected")
TAKEN_BACK = "taken-back-"  # and the state that a message is not in any more: what was counted stays, as counters must


class InboxEntry(Struct, frozen=True):
    """A message of the inbox with what became of it."""

    seq: int
    message: IncomingMessage
    received_at: float
    state: str
    reason: str


def receive(engine: Engine, messages: Sequence[IncomingMessage], now: float | None = None) -> list[bool]:
    """Keep these messages, durably, in one transaction. For each: True if it is new, False for a duplicate."""
    with engine.begin() as connection:
        return _keep(connection, messages, _moment(now))


def _keep(connection: Connection, messages: Sequence[IncomingMessage], at: float) -> list[bool]:
    new = [insert_one(connection, Message, _row(message, at)) for message in messages]
    if twice := new.count(False):
        counters.add(connection, {"message": {"duplicate": StoredCounter(twice)}})
    return new


def _moment(now: float | None) -> float:
    return time.time() if now is None else now


def fate(connection: Connection, ident: str) -> tuple[str, str]:
    """The state of the message of that id, and the reason for it."""
    row = connection.execute(select(Message.state, Message.reason).where(Message.id == ident)).one()
    return row.state, row.reason


def take(
    connection: Connection, make: Callable[[], IncomingMessage], delivery: Delivery, now: float | None = None
) -> Fate:
    """Keep what `make` reads in a delivery; set aside what can never be kept. Raises what is the database's fault.

    The connection is in no transaction. The consumer takes message after message on one: to open another each time
    costs as much as to write the message.
    """
    try:
        message = make()
        with connection.begin():
            (new,) = _keep(connection, [message], _moment(now))
    except Exception as error:
        if not is_of_the_values(error):
            raise
        reason = one_line(error)
    else:
        return "new" if new else "duplicate"
    with connection.begin():
        dead_letters.keep(connection, delivery, reason, _moment(now))
    return "dead"


def find(connection: Connection, ident: str) -> InboxEntry:
    """The message of that id. Raises UnknownError."""
    entries = _entries(connection, Message.id == ident, Message.seq, 1)
    if not entries:
        raise UnknownError(f"no message {ident}: `rebuilder inbox` lists them")
    return entries[0]


def retry(connection: Connection, ident: str) -> None:
    """Have a message read again that was ignored or rejected. Raises RequestError where it was not."""
    kept = find(connection, ident)
    if kept.state not in ("ignored", "rejected"):
        raise RequestError(f"message {ident} is {kept.state}: only what was ignored or rejected is read again")
    connection.execute(update(Message).where(Message.seq == kept.seq).values(state="new", reason=""))
    counters.one(connection, "message", f"{TAKEN_BACK}{kept.state}")


def drop(connection: Connection, ident: str, who: str) -> None:
    """Ignore a message that is unread or was rejected. Raises RequestError where it is neither.

    It stays known, so that it counts as a duplicate where it comes again.
    """
    kept = find(connection, ident)
    if kept.state not in ("new", "rejected"):
        raise RequestError(f"message {ident} is {kept.state}: only what is unread or rejected can be dropped")
    mark(connection, kept.seq, "ignored", f"dropped by {who}")
    if kept.state in ENDED:
        counters.one(connection, "message", f"{TAKEN_BACK}{kept.state}")


def _row(message: IncomingMessage, at: float) -> dict[str, object]:
    return {
        "id": message.id,
        "topic": message.topic,
        "headers": message.headers,
        "body": message.body,
        "received_at": at,
    }


def unread(connection: Connection, limit: int) -> list[InboxEntry]:
    """The oldest messages that are not acted on yet."""
    return _entries(connection, Message.state == "new", Message.seq, limit)


def listing(connection: Connection, state: str | None, limit: int) -> list[InboxEntry]:
    """The newest messages, of one state or of all."""
    return _entries(connection, (Message.state == state) if state else None, Message.seq.desc(), limit)


def _entries(connection: Connection, condition: object, order: object, limit: int) -> list[InboxEntry]:
    query = select(Message.__table__).order_by(order).limit(limit)  # type: ignore[arg-type]
    if condition is not None:
        query = query.where(condition)  # type: ignore[arg-type]
    rows = ((row, IncomingMessage(row.id, row.topic, row.headers, row.body)) for row in connection.execute(query))
    return [InboxEntry(row.seq, message, row.received_at, row.state, row.reason) for row, message in rows]


def mark(connection: Connection, seq: int, state: str, reason: str = "") -> None:
    """Record what became of a message: `accepted`, `ignored` or `rejected`, and why."""
    connection.execute(update(Message).where(Message.seq == seq).values(state=state, reason=reason))
    counters.one(connection, "message", state)


def counts(connection: Connection) -> Mapping[str, int]:
    """How many messages are unread, and what became of those that were read; states that no message had are left out.

    Those that were read are counted for ever, whether they are still kept or not; each once, as what it became last.
    """
    unread = connection.scalar(select(func.count()).select_from(Message).where(Message.state == "new")) or 0
    stored = counters.read(connection, "message")
    by_state = {"new": unread, **{state: _of(stored, state) - _of(stored, f"{TAKEN_BACK}{state}") for state in ENDED}}
    return {state: count for state, count in by_state.items() if count}


def _of(stored: Mapping[str, StoredCounter], label: str) -> int:
    return stored[label].count if label in stored else 0


def oldest_unread(connection: Connection) -> float | None:
    """When the message that waits longest was received, in seconds since the epoch; None where none waits."""
    query = select(Message.received_at).where(Message.state == "new").order_by(Message.seq).limit(1)
    return connection.scalar(query)
