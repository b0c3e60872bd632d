"""What came over the bus, and what is to go out on it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    ColumnElement,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    UniqueConstraint,
    false,
    text,
)

from rebuilder.domain.change import Severity
from rebuilder.domain.topics import Notice
from rebuilder.store.models.base import BIG, Base, column, nullable, one_of, partial_index

PENDING_CHANGE = ("settling", "planned")
MESSAGE_STATES = ("new", "accepted", "ignored", "rejected")


class Message(Base):
    """The inbox: every message received, once, in the order of arrival."""

    __tablename__ = "message"
    __table_args__ = (
        UniqueConstraint("id"),
        one_of("state", MESSAGE_STATES, "state"),
        partial_index("ix_message_new", "seq", where=text("state = 'new'")),
        Index("ix_message_state", "state", "seq"),
    )

    seq = column(Integer, primary_key=True)
    id = column(String(255))
    topic = column(String)
    headers: ColumnElement[dict[str, Any]] = column(JSON)
    body: ColumnElement[Any] = column(JSON)
    received_at = column(Double)
    state = column(String(16), server_default="new")
    reason = column(String, server_default="")


class DeadLetter(Base):
    """A delivery that can never be a message of the inbox, as it came; each once, by its `digest`."""

    __tablename__ = "dead_letter"
    __table_args__ = (UniqueConstraint("digest"),)

    seq = column(Integer, primary_key=True)
    digest = column(String(64))
    message_id = column(String(255))
    topic = column(String(255))
    headers: ColumnElement[dict[str, Any]] = column(JSON)
    encoding = column(String(255))
    body = column(LargeBinary)
    reason = column(String)
    received_at = column(Double)


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
        partial_index("ix_change_settling", "id", where=text("state = 'settling'")),
        partial_index("ix_change_in_doubt", "id", where=text("in_doubt")),
        Index("ix_change_update", "update"),
        Index("ix_change_message", "message_id"),
    )

    id = column(Integer, primary_key=True)
    source = column(String)
    epoch = nullable(BIG)  # RPM's are unsigned, of 32 bits
    version_release = column(String)
    stream = column(String)
    severity = column(String(16))
    update = column(String)
    url = column(String)
    type = column(String)
    cves = column(String, server_default="")
    waits_for_repo = column(String, server_default="")
    message_id = nullable(String(255), ForeignKey("message.id"))
    rpms: ColumnElement[list[str] | None] = nullable(JSON(none_as_null=True))
    noticed_at = column(Double)
    state = column(String(16), server_default="settling")
    in_doubt = column(Boolean, server_default=false())
    withdrawn_at = nullable(Double)


class Outbox(Base):
    """What is to be announced, in the order in which it happened. A row goes away once the broker has confirmed it.

    `id` is the message's, however often it is sent. `facts` is what was so at that moment and may be different later,
    `body` the message as it was first sent. One that cannot be sent stays for a while, with why it was `refused`.
    """

    __tablename__ = "outbox"
    __table_args__ = (
        one_of("notice", Notice, "notice"),
        partial_index("ix_outbox_refused_at", "refused_at", where=text("refused_at IS NOT NULL")),
    )

    seq = column(Integer, primary_key=True)
    id = column(String(36))
    notice = column(String(24))
    wave_id = column(Integer, ForeignKey("wave.id"))
    rebuild_id = nullable(Integer, ForeignKey("rebuild.id"))
    at = column(Double)
    facts: ColumnElement[dict[str, Any]] = column(JSON)
    body: ColumnElement[dict[str, Any] | None] = nullable(JSON(none_as_null=True))
    refused_at = nullable(Double)
    refused = column(String, server_default="")
