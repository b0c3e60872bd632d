"""Deliveries that can never be kept as messages: set aside as they came, each once, until an operator decides."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, Row, delete, func, select

from rebuilder.domain.errors import UnknownError
from rebuilder.domain.message import LONGEST_NAME, Delivery, is_too_deep, plain
from rebuilder.store.models import DeadLetter
from rebuilder.store.upsert import insert_one


class SetAside(Struct, frozen=True):
    """A delivery that was set aside, when, and why."""

    seq: int
    delivery: Delivery
    reason: str
    received_at: float


def keep(connection: Connection, delivery: Delivery, reason: str, now: float) -> bool:
    """Set a delivery aside; False where the same one is there already."""
    named = (delivery.id, delivery.topic)
    row = {
        "digest": sha256(b"\0".join([*(n.encode(errors="replace") for n in named), delivery.body])).hexdigest(),
        "message_id": _text(delivery.id),
        "topic": _text(delivery.topic),
        "headers": _headers(delivery.headers),
        "encoding": _text(delivery.encoding),
        "body": delivery.body,
        "reason": reason,
        "received_at": now,
    }
    return insert_one(connection, DeadLetter, row)


def _text(text: str) -> str:
    """As much of it as every database can keep; what cannot be kept shows as U+FFFD or `?`."""
    return text.encode(errors="replace").decode().replace("\0", "\ufffd")[:LONGEST_NAME]


def _headers(headers: Any) -> Any:
    try:
        return {} if is_too_deep(headers) else plain(headers)
    except (TypeError, ValueError):
        return {}


def listing(connection: Connection, limit: int) -> list[SetAside]:
    """The newest of them."""
    return [_of(row) for row in connection.execute(_ALL.order_by(DeadLetter.seq.desc()).limit(limit))]


def find(connection: Connection, seq: int) -> SetAside:
    """One of them. Raises UnknownError."""
    row = connection.execute(_ALL.where(DeadLetter.seq == seq)).first()
    if row is None:
        raise UnknownError(f"no dead letter {seq}: `rebuilder inbox dead` lists them")
    return _of(row)


def drop(connection: Connection, seq: int) -> None:
    """Forget one for good. Raises UnknownError."""
    if connection.execute(delete(DeadLetter).where(DeadLetter.seq == seq).returning(DeadLetter.seq)).first() is None:
        raise UnknownError(f"no dead letter {seq}: `rebuilder inbox dead` lists them")


def count(connection: Connection) -> int:
    """How many are set aside."""
    return connection.scalar(select(func.count()).select_from(DeadLetter)) or 0


def _of(row: Row[Any]) -> SetAside:
    delivery = Delivery(row.message_id, row.topic, row.headers, bytes(row.body), row.encoding)
    return SetAside(row.seq, delivery, row.reason, row.received_at)


_ALL = select(DeadLetter.__table__)
