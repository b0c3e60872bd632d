"""What came over the bus, and what is to go out on it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from rebuilder.domain.change import Severity
from rebuilder.domain.topics import Notice
from rebuilder.store.models.base import BIG, Base, one_of

PENDING_CHANGE = ("settling", "planned")
MESSAGE_STATES = ("new", "accepted", "ignored", "rejected")


class Message(Base):
    """The inbox: every message received, once, in the order of arrival."""

    __tablename__ = "message"
    __table_args__ = (
        UniqueConstraint("id"),
        one_of("state", MESSAGE_STATES, "state"),
        Index("ix_message_new", "seq", sqlite_where=text("state = 'new'"), postgresql_where=text("state = 'new'")),
        Index("ix_message_state", "state", "seq"),
    )

    seq: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(String(255))
    topic: Mapped[str]
    headers: Mapped[dict[str, Any]] = mapped_column(JSON)
    body: Mapped[Any] = mapped_column(JSON)
    received_at: Mapped[float]
    state: Mapped[str] = mapped_column(String(16), server_default="new")
    reason: Mapped[str] = mapped_column(server_default="")


class DeadLetter(Base):
    """A delivery that can never be a message of the inbox, as it came; each once, by its `digest`."""

    __tablename__ = "dead_letter"
    __table_args__ = (UniqueConstraint("digest"),)

    seq: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))
    message_id: Mapped[str] = mapped_column(String(255))
    topic: Mapped[str] = mapped_column(String(255))
    headers: Mapped[dict[str, Any]] = mapped_column(JSON)
    encoding: Mapped[str] = mapped_column(String(255))
    body: Mapped[bytes] = mapped_column(LargeBinary)
    reason: Mapped[str]
    received_at: Mapped[float]


class Change(Base):
    """A source build that is new in a stream, however many messages told of it.

    `rpms` has the names of its binary RPMs as Koji has them, none where Koji has no such build; null until it is asked.
    `cves` has the ids of what it fixes, a blank between. It is `in_doubt` where its build left a tag, until Koji says
    whether the stream still has it. One that was withdrawn after it was planned stays, because rebuilds tell of it.
    """

    __tablename__ = "change"
    __table_args__ = (
        UniqueConstraint("source", "version_release", "stream"),
        one_of("state", PENDING_CHANGE, "state"),
        one_of("severity", Severity, "severity"),
        Index("ix_change_settling", "id", sqlite_where=text("state = 'settling'"),
              postgresql_where=text("state = 'settling'")),
        Index("ix_change_in_doubt", "id", sqlite_where=text("in_doubt"), postgresql_where=text("in_doubt")),
        Index("ix_change_update", "update"),
        Index("ix_change_message", "message_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    source: Mapped[str]
    epoch: Mapped[int | None] = mapped_column(BIG)  # RPM's are unsigned, of 32 bits
    version_release: Mapped[str]
    stream: Mapped[str]
    severity: Mapped[str] = mapped_column(String(16))
    update: Mapped[str]
    url: Mapped[str]
    type: Mapped[str]
    cves: Mapped[str] = mapped_column(server_default="")
    waits_for_repo: Mapped[str] = mapped_column(server_default="")
    message_id: Mapped[str | None] = mapped_column(ForeignKey("message.id"))
    rpms: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    noticed_at: Mapped[float]
    state: Mapped[str] = mapped_column(String(16), server_default="settling")
    in_doubt: Mapped[bool] = mapped_column(server_default=false())
    withdrawn_at: Mapped[float | None]


class Outbox(Base):
    """What is to be announced, in the order in which it happened. A row goes away once the broker has confirmed it.

    `id` is the message's, however often it is sent. `facts` is what was so at that moment and may be different later,
    `body` the message as it was first sent. One that cannot be sent stays for a while, with why it was `refused`.
    """

    __tablename__ = "outbox"
    __table_args__ = (
        one_of("notice", Notice, "notice"),
        Index("ix_outbox_refused_at", "refused_at", sqlite_where=text("refused_at IS NOT NULL"),
              postgresql_where=text("refused_at IS NOT NULL")),
    )

    seq: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(String(36))
    notice: Mapped[str] = mapped_column(String(24))
    wave_id: Mapped[int] = mapped_column(ForeignKey("wave.id"))
    rebuild_id: Mapped[int | None] = mapped_column(ForeignKey("rebuild.id"))
    at: Mapped[float]
    facts: Mapped[dict[str, Any]] = mapped_column(JSON)
    body: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    refused_at: Mapped[float | None]
    refused: Mapped[str] = mapped_column(server_default="")
