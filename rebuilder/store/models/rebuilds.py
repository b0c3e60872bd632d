"""Waves and their rebuilds: why there is each one, and what happened to it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    ForeignKey,
    Index,
    String,
    UniqueConstraint,
    false,
    text,
    true,
)
from sqlalchemy.orm import Mapped, mapped_column

from rebuilder.domain.change import Severity
from rebuilder.domain.lifecycle import LIVE, State
from rebuilder.store.models.base import Base, one_of

DELIVERY_STATES = ("waiting", "pending", "done", "superseded", "refused")
VERDICT_STATES = ("pending", "passed", "failed", "void")
VERDICT_KINDS = ("test", "gate")
WAVE_STATES = ("planned", "running", "finished")


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


class WavePin(Base):
    """The pull spec by digest (`at`) of the external parent `spec` that the wave's images are built on."""

    __tablename__ = "wave_pin"

    wave_id: Mapped[int] = mapped_column(ForeignKey("wave.id"), primary_key=True)
    spec: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[str]


class Rebuild(Base):
    """One image in a wave. `rank` orders the queue, lowest first.

    `note` says who wanted one and why, where no change did, and `asked_by` their name alone. One is `superseded` when
    the image gets a newer one: what counts for an image is found without looking at history. `spared` dispatches never
    reached the builder; `begun_at` is when the builder began with the build, by its own clock, and `built_at` when the
    build of one that was tested had ended. `source` is the version of the image's source when it was dispatched last,
    empty where it is unknown.
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
        Index("ix_rebuild_before", "before_build_id"),
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
    spared: Mapped[int] = mapped_column(server_default="0")
    key: Mapped[str] = mapped_column(String(63))
    ref: Mapped[str] = mapped_column(server_default="")
    log: Mapped[str] = mapped_column(server_default="")
    reason: Mapped[str] = mapped_column(server_default="")
    note: Mapped[str] = mapped_column(server_default="")
    asked_by: Mapped[str] = mapped_column(server_default="")
    source: Mapped[str] = mapped_column(String(64), server_default="")
    not_before: Mapped[float] = mapped_column(server_default="0")
    created_at: Mapped[float]
    expected: Mapped[float | None]
    started_at: Mapped[float | None]
    begun_at: Mapped[float | None]
    built_at: Mapped[float | None]
    ended_at: Mapped[float | None]
    before_build_id: Mapped[int | None] = mapped_column(ForeignKey("image_build.id"))
    build_id: Mapped[int | None] = mapped_column(ForeignKey("image_build.id"))


class Delivery(Base):
    """A name that is to point to a proven build, or did. `spec` is the name: of one, at most one is `pending`.

    Committed with the proof, or with the answer of the test, so that a crash loses none. One that is `waiting` moves
    when its wave is good as a whole, or an operator says so. `reason` is why it could not be done yet, or never will
    be. One in a registry is `remote`; `at` is then the pull spec by digest that it points to. One that `moves` is a tag
    which other builds had before, and will have.
    """

    __tablename__ = "delivery"
    __table_args__ = (
        one_of("state", DELIVERY_STATES, "state"),
        Index("uq_delivery_pending", "spec", unique=True, sqlite_where=text("state = 'pending'"),
              postgresql_where=text("state = 'pending'")),
        Index("ix_delivery_waiting", "image_id", sqlite_where=text("state = 'waiting'"),
              postgresql_where=text("state = 'waiting'")),
        Index("ix_delivery_build", "build_id"),
        Index("ix_delivery_image", "image_id", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"))
    build_id: Mapped[int] = mapped_column(ForeignKey("image_build.id"))
    key: Mapped[str] = mapped_column(String(63))
    spec: Mapped[str]
    remote: Mapped[bool] = mapped_column(server_default=false())
    moves: Mapped[bool] = mapped_column(server_default=true())
    at: Mapped[str] = mapped_column(server_default="")
    state: Mapped[str] = mapped_column(String(16), server_default="pending")
    reason: Mapped[str] = mapped_column(server_default="")
    requested_at: Mapped[float]
    done_at: Mapped[float | None]


class Verdict(Base):
    """What a test, or a gate, says of a rebuild's build: nothing yet while it is `pending`.

    `who` answered, where that was somebody else; `test` says what is run. One that is `void` counts for nothing:
    the rebuild was stopped.
    """

    __tablename__ = "verdict"
    __table_args__ = (
        one_of("state", VERDICT_STATES, "state"),
        one_of("kind", VERDICT_KINDS, "kind"),
        Index("ix_verdict_pending", "rebuild_id", sqlite_where=text("state = 'pending'"),
              postgresql_where=text("state = 'pending'")),
        Index("ix_verdict_rebuild", "rebuild_id", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    rebuild_id: Mapped[int] = mapped_column(ForeignKey("rebuild.id"))
    build_id: Mapped[int] = mapped_column(ForeignKey("image_build.id"))
    kind: Mapped[str] = mapped_column(String(8))
    state: Mapped[str] = mapped_column(String(16), server_default="pending")
    reason: Mapped[str] = mapped_column(server_default="")
    who: Mapped[str] = mapped_column(server_default="")
    test: Mapped[dict[str, Any]] = mapped_column(JSON, server_default="{}")
    requested_at: Mapped[float]
    done_at: Mapped[float | None]


class GateAnswer(Base):
    """The last answer for a gate about a build (its NVR or digest), which may come before the build is proven."""

    __tablename__ = "gate_answer"

    build: Mapped[str] = mapped_column(primary_key=True)
    passed: Mapped[bool]
    reason: Mapped[str]
    who: Mapped[str]
    at: Mapped[float]


class RebuildEdge(Base):
    """A rebuild waits for its parent's."""

    __tablename__ = "rebuild_edge"
    __table_args__ = (Index("ix_rebuild_edge_parent", "parent_id"),)

    rebuild_id: Mapped[int] = mapped_column(ForeignKey("rebuild.id"), primary_key=True)
    parent_id: Mapped[int] = mapped_column(ForeignKey("rebuild.id"), primary_key=True)


class Cause(Base):
    """Why a rebuild is there: a change, and the RPM that it makes stale. `installed` is empty for a parent's sake.

    `inherited_from` and `external` say where the image has the RPM from, `compared` what was, and `upgrades` why it may
    come in although the external parent lacks it, as the plan's Reason does.
    """

    __tablename__ = "cause"
    __table_args__ = (Index("ix_cause_change", "change_id", "rebuild_id"),)

    rebuild_id: Mapped[int] = mapped_column(ForeignKey("rebuild.id"), primary_key=True)
    change_id: Mapped[int] = mapped_column(ForeignKey("change.id"), primary_key=True)
    installed: Mapped[str] = mapped_column(primary_key=True)
    inherited_from: Mapped[str]
    external: Mapped[str] = mapped_column(server_default="")
    compared: Mapped[str] = mapped_column(server_default="")
    upgrades: Mapped[str] = mapped_column(server_default="")


class BaseCause(Base):
    """Why a rebuild is there: the external parent `spec` that its image's bases begin with got this digest."""

    __tablename__ = "base_cause"

    rebuild_id: Mapped[int] = mapped_column(ForeignKey("rebuild.id"), primary_key=True)
    spec: Mapped[str] = mapped_column(primary_key=True)
    digest: Mapped[str]


class Cancellation(Base):
    """A build that no rebuild waits for any more, and that the builder must stop. Its image is not built meanwhile.

    `ref` is empty where the builder has not said yet whether it has the build.
    """

    __tablename__ = "cancellation"
    __table_args__ = (UniqueConstraint("key"), Index("ix_cancellation_image", "image_id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    rebuild_id: Mapped[int] = mapped_column(ForeignKey("rebuild.id"))
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"))
    key: Mapped[str] = mapped_column(String(63))
    ref: Mapped[str] = mapped_column(server_default="")
    requested_at: Mapped[float]


class Transition(Base):
    """Every step of every rebuild, with its time and why.

    Where a builder accepted it, `ref` and `log` are what it called that attempt's build, and where its log is.
    """

    __tablename__ = "transition"
    __table_args__ = (Index("ix_transition_rebuild", "rebuild_id", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    rebuild_id: Mapped[int] = mapped_column(ForeignKey("rebuild.id"))
    at: Mapped[float]
    event: Mapped[str] = mapped_column(String(24))
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str]
    ref: Mapped[str] = mapped_column(server_default="")
    log: Mapped[str] = mapped_column(server_default="")
