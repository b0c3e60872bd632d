"""The tables. Times are seconds since the epoch (UTC).

The constraints carry promises: a message counts once, one live build per image, one build waiting behind it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    MetaData,
    String,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from rebuilder.domain.change import Severity
from rebuilder.domain.image import ParentKind
from rebuilder.domain.lifecycle import LIVE, State
from rebuilder.domain.notice import Notice

NAMING = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
PENDING_CHANGE = ("settling", "planned")
WAVE_STATES = ("planned", "running", "finished")
MESSAGE_STATES = ("new", "accepted", "ignored", "rejected")


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)


def one_of(column: str, words: Any, name: str) -> CheckConstraint:
    """The column holds one of these words."""
    return CheckConstraint(f"{column} IN ({', '.join(repr(str(word)) for word in sorted(words))})", name=name)


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


class Change(Base):
    """A source build that is new in a stream, however many messages told of it.

    `rpms` has the names of its binary RPMs as Koji has them, none where Koji has no such build; null until it is asked.
    """

    __tablename__ = "change"
    __table_args__ = (
        UniqueConstraint("source", "version_release", "stream"),
        one_of("state", PENDING_CHANGE, "state"),
        one_of("severity", Severity, "severity"),
        Index("ix_change_settling", "id", sqlite_where=text("state = 'settling'"),
              postgresql_where=text("state = 'settling'")),
        Index("ix_change_update", "update"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    source: Mapped[str]
    epoch: Mapped[int | None]
    version_release: Mapped[str]
    stream: Mapped[str]
    severity: Mapped[str] = mapped_column(String(16))
    update: Mapped[str]
    url: Mapped[str]
    type: Mapped[str]
    waits_for_repo: Mapped[str] = mapped_column(server_default="")
    message_id: Mapped[str | None] = mapped_column(ForeignKey("message.id"))
    rpms: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    noticed_at: Mapped[float]
    state: Mapped[str] = mapped_column(String(16), server_default="settling")


class Stream(Base):
    """A stream that the inventory's document or the configuration names."""

    __tablename__ = "stream"

    name: Mapped[str] = mapped_column(primary_key=True)
    dist: Mapped[str]


class Image(Base):
    """An image of the inventory. One that left the inventory stays for its history, `present` false.

    `estimate` is the inventory's word on the seconds of a build, `measured` the median of its last builds.
    """

    __tablename__ = "image"
    __table_args__ = (UniqueConstraint("name", "stream"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    stream: Mapped[str] = mapped_column(index=True)
    source: Mapped[dict[str, str]] = mapped_column(JSON)
    pull_spec: Mapped[str]
    estimate: Mapped[float]
    measured: Mapped[float | None]
    present: Mapped[bool]
    current_build_id: Mapped[int | None] = mapped_column(
        ForeignKey("image_build.id", use_alter=True, name="fk_image_current_build"), index=True
    )


class ImageParent(Base):
    """What an image is built on: another image, or an external pull spec."""

    __tablename__ = "image_parent"
    __table_args__ = (
        CheckConstraint("(parent_id IS NULL) <> (external = '')", name="one"),
        one_of("kind", ParentKind, "kind"),
    )

    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(8))
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("image.id"), index=True)
    external: Mapped[str]


class Rpm(Base):
    """A binary RPM, once, however many images carry it."""

    __tablename__ = "rpm"
    __table_args__ = (
        UniqueConstraint("name", "epoch", "version", "release", "arch", "source", "source_evr", name="uq_rpm_nevra"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    epoch: Mapped[int]
    version: Mapped[str]
    release: Mapped[str]
    arch: Mapped[str]
    source: Mapped[str] = mapped_column(index=True)
    source_evr: Mapped[str]


class Manifest(Base):
    """A set of RPMs, once, however many builds have it. `digest` is that of its sorted content."""

    __tablename__ = "manifest"
    __table_args__ = (UniqueConstraint("digest"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))


class ManifestRpm(Base):
    """Which RPMs a manifest has; found by RPM, and by manifest."""

    __tablename__ = "manifest_rpm"
    __table_args__ = (Index("ix_manifest_rpm_manifest", "manifest_id"), {"sqlite_with_rowid": False})

    rpm_id: Mapped[int] = mapped_column(ForeignKey("rpm.id"), primary_key=True)
    manifest_id: Mapped[int] = mapped_column(ForeignKey("manifest.id"), primary_key=True)


class ImageBuild(Base):
    """A finished build of an image. `parents` has the idents of the builds it was built on, `tags` its pull specs."""

    __tablename__ = "image_build"
    __table_args__ = (
        UniqueConstraint("image_id", "ident"),
        Index("ix_image_build_manifest", "manifest_id"),
        Index("ix_image_build_image", "image_id", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"))
    ident: Mapped[str]
    digest: Mapped[str]
    parents: Mapped[list[str]] = mapped_column(JSON)
    tags: Mapped[list[str]] = mapped_column(JSON, server_default="[]")
    manifest_id: Mapped[int | None] = mapped_column(ForeignKey("manifest.id"))
    recorded_at: Mapped[float]


class Hold(Base):
    """An image that must not be built. `until` is when the hold ends by itself, null for never."""

    __tablename__ = "hold"

    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"), primary_key=True)
    who: Mapped[str]
    reason: Mapped[str]
    since: Mapped[float]
    until: Mapped[float | None]


class Pause(Base):
    """There, in one row, while the engine must start no builds."""

    __tablename__ = "pause"
    __table_args__ = (CheckConstraint("id = 1", name="one"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    who: Mapped[str]
    reason: Mapped[str]
    since: Mapped[float]


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


class Wave(Base):
    """A plan that was accepted. One that is `planned` has no rebuilds yet: `rule` wants it to be approved first."""

    __tablename__ = "wave"
    __table_args__ = (one_of("state", WAVE_STATES, "state"), Index("ix_wave_state", "state"))

    id: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[float]
    finished_at: Mapped[float | None]
    state: Mapped[str] = mapped_column(String(16))
    rule: Mapped[str] = mapped_column(server_default="")
    approved_at: Mapped[float | None]
    approved_by: Mapped[str] = mapped_column(server_default="")


class WaveChange(Base):
    """The changes that a wave takes up."""

    __tablename__ = "wave_change"
    __table_args__ = (Index("ix_wave_change_change", "change_id"),)

    wave_id: Mapped[int] = mapped_column(ForeignKey("wave.id"), primary_key=True)
    change_id: Mapped[int] = mapped_column(ForeignKey("change.id"), primary_key=True)


class Rebuild(Base):
    """One image in a wave. `rank` orders the queue, lowest first.

    `note` says who wanted one and why, where no change did, and `asked_by` their name alone. One is `superseded` when
    the image gets a newer one: what counts for an image is found without looking at history.
    """

    __tablename__ = "rebuild"
    __table_args__ = (
        UniqueConstraint("wave_id", "image_id"),
        UniqueConstraint("key"),
        one_of("state", State, "state"),
        one_of("severity", Severity, "severity"),
        Index(
            "uq_rebuild_live", "image_id", unique=True,
            sqlite_where=text(f"state IN ({', '.join(repr(str(s)) for s in sorted(LIVE))})"),
            postgresql_where=text(f"state IN ({', '.join(repr(str(s)) for s in sorted(LIVE))})"),
        ),
        Index(
            "uq_rebuild_pending", "image_id", unique=True,
            sqlite_where=text("state IN ('queued', 'waiting')"),
            postgresql_where=text("state IN ('queued', 'waiting')"),
        ),
        Index("ix_rebuild_state", "state", "rank"),
        Index("ix_rebuild_newest_in_state", "state", "id"),
        Index("ix_rebuild_severity", "severity", "id"),
        Index("ix_rebuild_image", "image_id", "id"),
        Index("ix_rebuild_created", "created_at"),
        Index("ix_rebuild_build", "build_id"),
        Index("ix_rebuild_current", "state", sqlite_where=text("superseded = 0"),
              postgresql_where=text("NOT superseded")),
        Index("ix_rebuild_newest", "image_id", sqlite_where=text("superseded = 0"),
              postgresql_where=text("NOT superseded")),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    wave_id: Mapped[int] = mapped_column(ForeignKey("wave.id"))
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"))
    state: Mapped[str] = mapped_column(String(16))
    superseded: Mapped[bool] = mapped_column(server_default=false())
    severity: Mapped[str] = mapped_column(String(16))
    level: Mapped[int]
    rank: Mapped[float]
    attempt: Mapped[int] = mapped_column(server_default="0")
    key: Mapped[str] = mapped_column(String(63))
    ref: Mapped[str] = mapped_column(server_default="")
    log: Mapped[str] = mapped_column(server_default="")
    reason: Mapped[str] = mapped_column(server_default="")
    note: Mapped[str] = mapped_column(server_default="")
    asked_by: Mapped[str] = mapped_column(server_default="")
    not_before: Mapped[float] = mapped_column(server_default="0")
    created_at: Mapped[float]
    started_at: Mapped[float | None]
    ended_at: Mapped[float | None]
    before_build_id: Mapped[int | None] = mapped_column(ForeignKey("image_build.id"))
    build_id: Mapped[int | None] = mapped_column(ForeignKey("image_build.id"))


class RebuildEdge(Base):
    """A rebuild waits for its parent's."""

    __tablename__ = "rebuild_edge"
    __table_args__ = (Index("ix_rebuild_edge_parent", "parent_id"),)

    rebuild_id: Mapped[int] = mapped_column(ForeignKey("rebuild.id"), primary_key=True)
    parent_id: Mapped[int] = mapped_column(ForeignKey("rebuild.id"), primary_key=True)


class Cause(Base):
    """Why a rebuild is there: a change, and the RPM that it makes stale. `installed` is empty for a parent's sake.

    `inherited_from` and `external` say where the image has the RPM from, as the plan's Reason does.
    """

    __tablename__ = "cause"
    __table_args__ = (Index("ix_cause_change", "change_id", "rebuild_id"),)

    rebuild_id: Mapped[int] = mapped_column(ForeignKey("rebuild.id"), primary_key=True)
    change_id: Mapped[int] = mapped_column(ForeignKey("change.id"), primary_key=True)
    installed: Mapped[str] = mapped_column(primary_key=True)
    inherited_from: Mapped[str]
    external: Mapped[str] = mapped_column(server_default="")


class Transition(Base):
    """Every step of every rebuild, with its time and why."""

    __tablename__ = "transition"
    __table_args__ = (Index("ix_transition_rebuild", "rebuild_id", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    rebuild_id: Mapped[int] = mapped_column(ForeignKey("rebuild.id"))
    at: Mapped[float]
    event: Mapped[str] = mapped_column(String(24))
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str]


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
    """When each loop last got through a pass, and when it last could not, with the reason."""

    __tablename__ = "heartbeat"

    loop: Mapped[str] = mapped_column(String(32), primary_key=True)
    at: Mapped[float]
    every: Mapped[float]
    trouble: Mapped[str] = mapped_column(server_default="")


class Token(Base):
    """Who may change things over HTTP. The token itself is nowhere: `digest` is its SHA-256."""

    __tablename__ = "token"
    __table_args__ = (UniqueConstraint("name"), UniqueConstraint("digest"))

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    digest: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[list[str]] = mapped_column(JSON)
    created_at: Mapped[float]
