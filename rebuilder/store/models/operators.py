"""What operators want, who they are, and what they look at."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    ColumnElement,
    Double,
    ForeignKey,
    Integer,
    String,
    UniqueConstraint,
    or_,
    text,
)

from rebuilder.store.models.base import Base, column, nullable, partial_index


class Hold(Base):
    """An image that must not be built. `until` is when the hold ends by itself, null for never."""

    __tablename__ = "hold"

    image_id = column(Integer, ForeignKey("image.id"), primary_key=True)
    who = column(String)
    reason = column(String)
    since = column(Double)
    until = nullable(Double)

    @classmethod
    def in_force(cls, now: float | ColumnElement[float]) -> ColumnElement[bool]:
        """Whether it has not ended by itself."""
        return or_(cls.until.is_(None), cls.until > now)


class Pause(Base):
    """There, in one row, while the engine must start no builds. `until` is when that ends by itself, null for never."""

    __tablename__ = "pause"
    __table_args__ = (CheckConstraint("id = 1", name="one"),)

    id = column(Integer, primary_key=True)
    who = column(String)
    reason = column(String)
    since = column(Double)
    until = nullable(Double)


class Action(Base):
    """What operators did: who, when, what, to which image or wave, and why.

    One that only the engine can carry out has no `done_at` until then; `answer` says what came of it.
    """

    __tablename__ = "action"
    __table_args__ = (
        partial_index("ix_action_open", "id", where=text("done_at IS NULL")),
    )

    id = column(Integer, primary_key=True)
    at = column(Double)
    who = column(String)
    verb = column(String(16))
    target = column(String)
    reason = column(String)
    done_at = nullable(Double)
    answer = column(String, server_default="")


class Token(Base):
    """Who may change things over HTTP. The token itself is nowhere: `digest` is its SHA-256."""

    __tablename__ = "token"
    __table_args__ = (UniqueConstraint("name"), UniqueConstraint("digest"))

    id = column(Integer, primary_key=True)
    name = column(String(64))
    digest = column(String(64))
    scopes: ColumnElement[list[str]] = column(JSON)
    created_at = column(Double)


class Tally(Base):
    """What is counted as it happens, because counting it afterwards would mean looking at all of history.

    `seconds` is the sum of the lengths of what has a length.
    """

    __tablename__ = "tally"

    name = column(String(32), primary_key=True)
    label = column(String(64), primary_key=True)
    count = column(BigInteger)
    seconds = column(Double, server_default="0")


class Heartbeat(Base):
    """When each loop last got through a pass, and when it last could not, with the reason.

    `detail` is what the engine waits for, as `rebuilder.store.heartbeats.Activity` says.
    """

    __tablename__ = "heartbeat"

    loop = column(String(32), primary_key=True)
    at = column(Double)
    every = column(Double)
    trouble = column(String, server_default="")
    detail: ColumnElement[dict[str, Any] | None] = nullable(JSON(none_as_null=True))


class Lease(Base):
    """Which engine, or publisher, acts, and until when unless it renews: `owner` is empty where it let go.

    `epoch` grows with every owner, `renewals` with every transaction of the owner's that writes.
    """

    __tablename__ = "lease"

    role = column(String(32), primary_key=True)
    owner = column(String(128))
    epoch = column(BigInteger)
    renewals = column(BigInteger)
    expires_at = column(Double)
