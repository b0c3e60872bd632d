"""What operators want, who they are, and what they look at."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    Index,
    String,
    UniqueConstraint,
    or_,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from rebuilder.store.models.base import Base


class Hold(Base):
    """An image that must not be built. `until` is when the hold ends by itself, null for never."""

    __tablename__ = "hold"

    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"), primary_key=True)
    who: Mapped[str]
    reason: Mapped[str]
    since: Mapped[float]
    until: Mapped[float | None]

    @classmethod
    def in_force(cls, now: float | ColumnElement[float]) -> ColumnElement[bool]:
        """Whether it has not ended by itself."""
        return or_(cls.until.is_(None), cls.until > now)


class Pause(Base):
    """There, in one row, while the engine must start no builds. `until` is when that ends by itself, null for never."""

    __tablename__ = "pause"
    __table_args__ = (CheckConstraint("id = 1", name="one"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    who: Mapped[str]
    reason: Mapped[str]
    since: Mapped[float]
    until: Mapped[float | None]


class Action(Base):
    """What operators did: who, when, what, to which image or wave, and why.

    One that only the engine can carry out has no `done_at` until then; `answer` says what came of it.
    """

    __tablename__ = "action"
    __table_args__ = (
        Index("ix_action_open", "id", sqlite_where=text("done_at IS NULL"), postgresql_where=text("done_at IS NULL")),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[float]
    who: Mapped[str]
    verb: Mapped[str] = mapped_column(String(16))
    target: Mapped[str]
    reason: Mapped[str]
    done_at: Mapped[float | None]
    answer: Mapped[str] = mapped_column(server_default="")


class Token(Base):
    """Who may change things over HTTP. The token itself is nowhere: `digest` is its SHA-256."""

    __tablename__ = "token"
    __table_args__ = (UniqueConstraint("name"), UniqueConstraint("digest"))

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    digest: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[list[str]] = mapped_column(JSON)
    created_at: Mapped[float]


class Tally(Base):
    """What is counted as it happens, because counting it afterwards would mean looking at all of history.

    `seconds` is the sum of the lengths of what has a length.
    """

    __tablename__ = "tally"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    label: Mapped[str] = mapped_column(String(64), primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger)
    seconds: Mapped[float] = mapped_column(server_default="0")


class Heartbeat(Base):
    """When each loop last got through a pass, and when it last could not, with the reason.

    `detail` is what the engine waits for, as `rebuilder.store.heartbeats.Activity` says.
    """

    __tablename__ = "heartbeat"

    loop: Mapped[str] = mapped_column(String(32), primary_key=True)
    at: Mapped[float]
    every: Mapped[float]
    trouble: Mapped[str] = mapped_column(server_default="")
    detail: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


class Lease(Base):
    """Which engine, or publisher, acts, and until when unless it renews: `owner` is empty where it let go.

    `epoch` grows with every owner, `renewals` with every transaction of the owner's that writes.
    """

    __tablename__ = "lease"

    role: Mapped[str] = mapped_column(String(32), primary_key=True)
    owner: Mapped[str] = mapped_column(String(128))
    epoch: Mapped[int] = mapped_column(BigInteger)
    renewals: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[float]
