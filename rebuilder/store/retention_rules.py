"""What is old enough to go, and nothing points at: a rule for each kind of rows.

Never what is current, or an image's last rebuild, whatever became of it; nothing of an image on hold, nothing that is
to be announced, and nothing that any of this rests on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, exists, func, or_, select

from rebuilder.domain.lifecycle import ENDED
from rebuilder.domain.rpm import MODULE
from rebuilder.store.models import (
    Base,
    BaseCause,
    Cancellation,
    Cause,
    Change,
    DeadLetter,
    Delivery,
    ExternalManifest,
    GateAnswer,
    Hold,
    Image,
    ImageBuild,
    Manifest,
    ManifestRpm,
    Message,
    Outbox,
    ReadManifest,
    Rebuild,
    RebuildEdge,
    Rollback,
    Rpm,
    Transition,
    Verdict,
    Wave,
    WaveChange,
    WavePin,
    aliased,
)

Conditions = Sequence[ColumnElement[bool]]


class Limits(Struct, frozen=True):
    """What ended, came, was refused or was recorded before these moments is old (seconds since the epoch)."""

    history: float
    messages: float
    notifications: float
    builds: float
    now: float


class Kind(Struct, frozen=True):
    """Rows of a table that may go, and the columns that point at them from rows that go with them."""

    name: str
    model: type[Base]
    conditions: Callable[[Limits, str], Conditions]
    along: tuple[ColumnElement[int], ...] = ()
    interned: bool = False

    @property
    def key(self) -> ColumnElement[int]:
        (column,) = self.model.__table__.primary_key
        return column


def _held(limits: Limits, image_id: Any) -> ColumnElement[bool]:
    return exists().where(Hold.image_id == image_id, Hold.in_force(limits.now))


def _rebuilds(limits: Limits, _dialect: str) -> Conditions:
    over = exists().where(Wave.id == Rebuild.wave_id, Wave.state == "finished", Wave.finished_at < limits.history)
    return (
        Rebuild.superseded.is_(True),
        Rebuild.state.in_(ENDED),
        func.coalesce(Rebuild.ended_at, Rebuild.created_at) < limits.history,
        over,
        ~_held(limits, Rebuild.image_id),
        ~exists().where(RebuildEdge.parent_id == Rebuild.id),
        ~exists().where(Outbox.rebuild_id == Rebuild.id),
        ~exists().where(Cancellation.rebuild_id == Rebuild.id),
    )


def _waves(limits: Limits, _dialect: str) -> Conditions:
    return (
        Wave.state == "finished",
        Wave.finished_at < limits.history,
        ~exists().where(Rebuild.wave_id == Wave.id),
        ~exists().where(Outbox.wave_id == Wave.id),
    )


def _changes(limits: Limits, _dialect: str) -> Conditions:
    """The newest of a package stays, or it would be new when it is heard of again; so does what a hold may wait for."""
    newer = aliased(Change)
    waiting = select(Image.stream).join(Hold, Hold.image_id == Image.id)
    waiting = waiting.where(Hold.in_force(limits.now))
    return (
        Change.state == "planned",
        Change.noticed_at < limits.history,
        exists().where(
            newer.source == Change.source, newer.stream == Change.stream, newer.id > Change.id,
            newer.withdrawn_at.is_(None),  # else images that lack this one would be said to be current
            newer.version_release.contains(MODULE) == Change.version_release.contains(MODULE),
        ),
        Change.stream.not_in(waiting),
        ~exists().where(Cause.change_id == Change.id),
        ~exists().where(WaveChange.change_id == Change.id),
    )


def _messages(limits: Limits, _dialect: str) -> Conditions:
    return (
        Message.state != "new",
        Message.received_at < limits.messages,
        ~exists().where(Change.message_id == Message.id),
    )


def _builds(limits: Limits, dialect: str) -> Conditions:
    """What a current build was built on stays too."""
    current = aliased(ImageBuild)
    unpack = func.json_each if dialect == "sqlite" else func.json_array_elements_text
    parents = unpack(current.parents).table_valued("value", joins_implicitly=True)
    built_on = select(parents.c.value).join_from(Image, current, current.id == Image.current_build_id)
    return (
        ImageBuild.recorded_at < limits.builds,
        ~exists().where(Image.current_build_id == ImageBuild.id),
        ~exists().where(Rebuild.before_build_id == ImageBuild.id),
        ~exists().where(Rebuild.build_id == ImageBuild.id),
        ~exists().where(Delivery.build_id == ImageBuild.id, Delivery.state.in_(("pending", "waiting"))),
        ~exists().where(Verdict.build_id == ImageBuild.id),
        ~exists().where(or_(Rollback.bad_build_id == ImageBuild.id, Rollback.good_build_id == ImageBuild.id)),
        ~_held(limits, ImageBuild.image_id),
        ImageBuild.ident.not_in(built_on),
    )


def _manifests(_limits: Limits, _dialect: str) -> Conditions:
    return (
        ~exists().where(ImageBuild.manifest_id == Manifest.id),
        ~exists().where(ReadManifest.manifest_id == Manifest.id),
        ~exists().where(ExternalManifest.manifest_id == Manifest.id),
    )


KINDS = (
    Kind("rebuilds", Rebuild, _rebuilds, (Transition.rebuild_id, Cause.rebuild_id, BaseCause.rebuild_id,
                                        RebuildEdge.rebuild_id, Verdict.rebuild_id)),
    Kind("waves", Wave, _waves, (WaveChange.wave_id, WavePin.wave_id)),
    Kind("changes", Change, _changes),
    Kind("messages", Message, _messages),
    Kind("answers for gates", GateAnswer, lambda limits, _: (GateAnswer.at < limits.messages,)),
    Kind("dead letters", DeadLetter, lambda limits, _: (DeadLetter.received_at < limits.messages,)),
    Kind("refused notifications", Outbox, lambda limits, _: (Outbox.refused_at < limits.notifications,)),
    Kind("image builds", ImageBuild, _builds, (Delivery.build_id,), interned=True),
    Kind("manifests", Manifest, _manifests, (ManifestRpm.manifest_id,), interned=True),
    Kind("RPMs", Rpm, lambda *_: (~exists().where(ManifestRpm.rpm_id == Rpm.id),), interned=True),
)
