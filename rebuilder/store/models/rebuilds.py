"""Waves and their rebuilds: why there is each one, and what happened to it."""

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
    String,
    UniqueConstraint,
    false,
    literal_column,
    text,
    true,
)

from rebuilder.domain.change import Severity
from rebuilder.domain.lifecycle import LIVE, State
from rebuilder.store.models.base import Base, column, nullable, one_of, partial_index

DELIVERY_STATES = ("waiting", "pending", "done", "superseded", "refused")
VERDICT_STATES = ("pending", "passed", "failed", "void")
VERDICT_KINDS = ("test", "gate")
WAVE_STATES = ("planned", "running", "finished")


class Wave(Base):
    """A plan that was accepted. One that is `planned` has no rebuilds yet: `rule` wants it to be approved first."""

    __tablename__ = "wave"
    __table_args__ = (one_of("state", WAVE_STATES, "state"), Index("ix_wave_state", "state"))

    id = column(Integer, primary_key=True)
    created_at = column(Double)
    finished_at = nullable(Double)
    state = column(String(16))
    rule = column(String, server_default="")
    approved_at = nullable(Double)
    approved_by = column(String, server_default="")


class WaveChange(Base):
    """The changes that a wave takes up."""

    __tablename__ = "wave_change"
    __table_args__ = (Index("ix_wave_change_change", "change_id"),)

    wave_id = column(Integer, ForeignKey("wave.id"), primary_key=True)
    change_id = column(Integer, ForeignKey("change.id"), primary_key=True)


class WavePin(Base):
    """The pull spec by digest (`at`) of the external parent `spec` that the wave's images are built on."""

    __tablename__ = "wave_pin"

    wave_id = column(Integer, ForeignKey("wave.id"), primary_key=True)
    spec = column(String, primary_key=True)
    at = column(String)


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
        partial_index(
            "uq_rebuild_live", "image_id", unique=True,
            where=text(f"state IN ({', '.join(repr(str(s)) for s in sorted(LIVE))})"),
        ),
        partial_index(
            "uq_rebuild_pending", "image_id", unique=True,
            where=text("state IN ('queued', 'waiting')"),
        ),
        Index("ix_rebuild_state", "state", "rank"),
        Index("ix_rebuild_newest_in_state", "state", "id"),
        Index("ix_rebuild_severity", "severity", "id"),
        Index("ix_rebuild_image", "image_id", "id"),
        Index("ix_rebuild_created", "created_at"),
        Index("ix_rebuild_build", "build_id"),
        Index("ix_rebuild_before", "before_build_id"),
        partial_index("ix_rebuild_current", "state", where=~literal_column("superseded", Boolean)),
        partial_index("ix_rebuild_newest", "image_id", where=~literal_column("superseded", Boolean)),
    )

    id = column(Integer, primary_key=True)
    wave_id = column(Integer, ForeignKey("wave.id"))
    image_id = column(Integer, ForeignKey("image.id"))
    state = column(String(16))
    superseded = column(Boolean, server_default=false())
    severity = column(String(16))
    level = column(Integer)
    rank = column(Double)
    attempt = column(Integer, server_default="0")
    spared = column(Integer, server_default="0")
    key = column(String(63))
    ref = column(String, server_default="")
    log = column(String, server_default="")
    reason = column(String, server_default="")
    note = column(String, server_default="")
    asked_by = column(String, server_default="")
    source = column(String(64), server_default="")
    not_before = column(Double, server_default="0")
    created_at = column(Double)
    expected = nullable(Double)
    started_at = nullable(Double)
    begun_at = nullable(Double)
    built_at = nullable(Double)
    ended_at = nullable(Double)
    before_build_id = nullable(Integer, ForeignKey("image_build.id"))
    build_id = nullable(Integer, ForeignKey("image_build.id"))


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
        partial_index("uq_delivery_pending", "spec", unique=True, where=text("state = 'pending'")),
        partial_index("ix_delivery_waiting", "image_id", where=text("state = 'waiting'")),
        Index("ix_delivery_build", "build_id"),
        Index("ix_delivery_image", "image_id", "id"),
    )

    id = column(Integer, primary_key=True)
    image_id = column(Integer, ForeignKey("image.id"))
    build_id = column(Integer, ForeignKey("image_build.id"))
    key = column(String(63))
    spec = column(String)
    remote = column(Boolean, server_default=false())
    moves = column(Boolean, server_default=true())
    at = column(String, server_default="")
    state = column(String(16), server_default="pending")
    reason = column(String, server_default="")
    requested_at = column(Double)
    done_at = nullable(Double)


class Verdict(Base):
    """What a test, or a gate, says of a rebuild's build: nothing yet while it is `pending`.

    `who` answered, where that was somebody else; `test` says what is run. One that is `void` counts for nothing:
    the rebuild was stopped.
    """

    __tablename__ = "verdict"
    __table_args__ = (
        one_of("state", VERDICT_STATES, "state"),
        one_of("kind", VERDICT_KINDS, "kind"),
        partial_index("ix_verdict_pending", "rebuild_id", where=text("state = 'pending'")),
        Index("ix_verdict_rebuild", "rebuild_id", "id"),
    )

    id = column(Integer, primary_key=True)
    rebuild_id = column(Integer, ForeignKey("rebuild.id"))
    build_id = column(Integer, ForeignKey("image_build.id"))
    kind = column(String(8))
    state = column(String(16), server_default="pending")
    reason = column(String, server_default="")
    who = column(String, server_default="")
    test: ColumnElement[dict[str, Any]] = column(JSON, server_default="{}")
    requested_at = column(Double)
    done_at = nullable(Double)


class GateAnswer(Base):
    """The last answer for a gate about a build (its NVR or digest), which may come before the build is proven."""

    __tablename__ = "gate_answer"

    build = column(String, primary_key=True)
    passed = column(Boolean)
    reason = column(String)
    who = column(String)
    at = column(Double)


class RebuildEdge(Base):
    """A rebuild waits for its parent's."""

    __tablename__ = "rebuild_edge"
    __table_args__ = (Index("ix_rebuild_edge_parent", "parent_id"),)

    rebuild_id = column(Integer, ForeignKey("rebuild.id"), primary_key=True)
    parent_id = column(Integer, ForeignKey("rebuild.id"), primary_key=True)


class Cause(Base):
    """Why a rebuild is there: a change, and the RPM that it makes stale. `installed` is empty for a parent's sake.

    `inherited_from` and `external` say where the image has the RPM from, `compared` what was, and `upgrades` why it may
    come in although the external parent lacks it, as the plan's Reason does.
    """

    __tablename__ = "cause"
    __table_args__ = (Index("ix_cause_change", "change_id", "rebuild_id"),)

    rebuild_id = column(Integer, ForeignKey("rebuild.id"), primary_key=True)
    change_id = column(Integer, ForeignKey("change.id"), primary_key=True)
    installed = column(String, primary_key=True)
    inherited_from = column(String)
    external = column(String, server_default="")
    compared = column(String, server_default="")
    upgrades = column(String, server_default="")


class BaseCause(Base):
    """Why a rebuild is there: the external parent `spec` that its image's bases begin with got this digest."""

    __tablename__ = "base_cause"

    rebuild_id = column(Integer, ForeignKey("rebuild.id"), primary_key=True)
    spec = column(String, primary_key=True)
    digest = column(String)


class Cancellation(Base):
    """A build that no rebuild waits for any more, and that the builder must stop. Its image is not built meanwhile.

    `ref` is empty where the builder has not said yet whether it has the build.
    """

    __tablename__ = "cancellation"
    __table_args__ = (UniqueConstraint("key"), Index("ix_cancellation_image", "image_id"))

    id = column(Integer, primary_key=True)
    rebuild_id = column(Integer, ForeignKey("rebuild.id"))
    image_id = column(Integer, ForeignKey("image.id"))
    key = column(String(63))
    ref = column(String, server_default="")
    requested_at = column(Double)


class Transition(Base):
    """Every step of every rebuild, with its time and why.

    Where a builder accepted it, `ref` and `log` are what it called that attempt's build, and where its log is.
    """

    __tablename__ = "transition"
    __table_args__ = (Index("ix_transition_rebuild", "rebuild_id", "id"),)

    id = column(Integer, primary_key=True)
    rebuild_id = column(Integer, ForeignKey("rebuild.id"))
    at = column(Double)
    event = column(String(24))
    state = column(String(16))
    reason = column(String)
    ref = column(String, server_default="")
    log = column(String, server_default="")
