"""Rebuilds that may not be needed any more: what they were planned for is gone, done, or came out unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, bindparam, exists, or_, select

from rebuilder.domain.lifecycle import RebuildRecord, State
from rebuilder.store.models import Cause, Change, Image, ImageBuild, Rebuild, RebuildEdge, aliased
from rebuilder.store.rebuilds import entries, selected

_IDS = Rebuild.id.in_(bindparam("ids", expanding=True))


def without_cause(connection: Connection, ids: Sequence[int]) -> set[int]:
    """Of these, the rebuilds that were only there for their parents' sake, and whose parents all came out unchanged.

    A parent that had no build before, or one that could not be read, counts as changed.
    """
    return set(connection.scalars(_without_cause(), {"ids": ids}))


@cache
def _without_cause() -> Select[int]:
    parent, before, after = aliased(Rebuild), aliased(ImageBuild), aliased(ImageBuild)
    own = exists().where(Cause.rebuild_id == Rebuild.id, Cause.installed != "")
    edges = exists().where(RebuildEdge.rebuild_id == Rebuild.id)
    same = (
        exists()
        .where(before.id == parent.before_build_id, after.id == parent.build_id)
        .where(before.manifest_id == after.manifest_id)
    )
    changed = (
        exists()
        .where(RebuildEdge.rebuild_id == Rebuild.id, RebuildEdge.parent_id == parent.id)
        .where(parent.state == State.SUCCEEDED, ~same)
    )
    return select(Rebuild.id).where(_IDS, edges, ~own, ~changed, Rebuild.note == "")


def for_withdrawn(connection: Connection) -> list[RebuildRecord]:
    """The rebuilds that have not begun, that no operator asked for, and whose changes were all withdrawn."""
    caused = exists().where(Cause.rebuild_id == Rebuild.id)
    offered = caused.where(Cause.change_id == Change.id, Change.withdrawn_at.is_(None))
    begins = Rebuild.state.in_([State.WAITING, State.QUEUED]), Rebuild.note == ""
    return entries(connection, selected().where(*begins, caused, ~offered).order_by(Rebuild.id))


def superseded_by_other_build(connection: Connection, ids: Sequence[int]) -> list[RebuildRecord]:
    """Of these, the rebuilds whose image got another build since they were planned, and who have own causes."""
    return entries(connection, _superseded_by_other_build(), {"ids": ids})


@cache
def _superseded_by_other_build() -> Select[Any]:
    other = or_(Rebuild.before_build_id.is_(None), Rebuild.before_build_id != Image.current_build_id)
    caused = exists().where(Cause.rebuild_id == Rebuild.id)
    parent = exists().where(Cause.rebuild_id == Rebuild.id, Cause.installed == "")
    query = selected().where(_IDS, Image.current_build_id.is_not(None), other, caused, ~parent)
    return query.where(Rebuild.note == "")
