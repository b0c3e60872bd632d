"""The queued rebuilds that may start now, and the registries that are to be asked before that."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Double, Select, bindparam, exists, select

from rebuilder.domain.lifecycle import UNDER_WAY, RebuildRecord, State
from rebuilder.store.models import Cancellation, ExternalImage, Hold, Image, ImageParent, Rebuild, WavePin, aliased
from rebuilder.store.rebuilds import NOW, entries, selected

FRESH_SECONDS = 60.0  # for so long the answer of a registry counts, where something is about to be built
_SINCE: ColumnElement[float] = bindparam("since", type_=Double)
# What names a digest never moves.
_STALE = ExternalImage.asked_at < _SINCE, ExternalImage.spec.not_like("%@%")
_ANY_STALE = select(ExternalImage.id).where(*_STALE).limit(1)


def startable(connection: Connection, now: float, limit: int, full: Collection[str] = ()) -> list[RebuildRecord]:
    """The queued rebuilds to start next: not pausing, their image not held, built or tested, nor of a full stream.

    An image whose last build is still to be stopped at the builder counts as being built. One whose external parent its
    wave has no digest of yet starts when the registry was asked for that within the last minute.
    """
    values = {"now": now, "since": now - FRESH_SECONDS, "full": list(full), "most": limit}
    return entries(connection, _startable(bool(full), _any_is_stale(connection, now)), values)


def to_ask_for(connection: Connection, now: float, limit: int) -> list[str]:
    """The external parents that registries are to be asked for before the queued rebuilds on them may start."""
    if not _any_is_stale(connection, now):
        return []
    values = {"now": now, "since": now - FRESH_SECONDS, "most": limit}
    return list(connection.scalars(_to_ask_for(), values))


def _any_is_stale(connection: Connection, now: float) -> bool:
    return connection.scalar(_ANY_STALE, {"since": now - FRESH_SECONDS}) is not None


@cache
def _startable(some_are_full: bool, some_are_stale: bool) -> Select[Any]:
    """The first rebuilds by rank, chosen by their own columns alone; what is told of them is read for these few.

    Sets of images, not EXISTS: PostgreSQL's statistics are of the wave's beginning, when nothing was queued. It expects
    one row and compares every queued rebuild with every live one, but a set it makes once.
    """
    first = select(Rebuild.id).where(*_may_start(Rebuild))
    if some_are_stale:
        first = first.where(Rebuild.id.not_in(_on_stale(aliased(Rebuild))))
    if some_are_full:
        first = first.join(Image).where(Image.stream.not_in(bindparam("full", expanding=True)))
    first = first.order_by(Rebuild.rank, Rebuild.id).limit(bindparam("most"))
    return selected().where(Rebuild.id.in_(first)).order_by(Rebuild.rank, Rebuild.id)


@cache
def _to_ask_for() -> Select[Any]:
    query = _on_stale(Rebuild).where(*_may_start(Rebuild))
    return query.with_only_columns(ExternalImage.spec).distinct().limit(bindparam("most"))


def _may_start(rebuild: Any) -> tuple[ColumnElement[bool], ...]:
    other = aliased(Rebuild)
    live = select(other.image_id).where(other.state.in_(UNDER_WAY))
    held = select(Hold.image_id).where(Hold.in_force(NOW))
    away = (rebuild.image_id.not_in(images) for images in (live, select(Cancellation.image_id), held))
    return rebuild.state == State.QUEUED, rebuild.not_before <= NOW, *away


def _on_stale(rebuild: Any) -> Select[Any]:
    """The queued rebuilds on an external parent that their wave has no digest of, and that was not asked for lately."""
    pinned = exists().where(WavePin.wave_id == rebuild.wave_id, WavePin.spec == ExternalImage.spec)
    return (
        select(rebuild.id)
        .join(Image, Image.id == rebuild.image_id)
        .join(ImageParent, ImageParent.image_id == Image.id)
        .join(ExternalImage, ExternalImage.spec == ImageParent.external)
        .where(rebuild.state == State.QUEUED, Image.present, *_STALE, ~pinned)
    )
