"""What rebuilds wait for, and what waits for them."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, bindparam, delete, exists, func, select, update

from rebuilder.domain.lifecycle import STOPPED, RebuildRecord, State
from rebuilder.store import bases
from rebuilder.store.models import Cause, Rebuild, RebuildEdge, aliased
from rebuilder.store.rebuilds import DONE, entries, newer, selected
from rebuilder.store.upsert import insert_new


def released(connection: Connection) -> list[RebuildRecord]:
    """The waiting rebuilds whose parents are all done."""
    return entries(connection, _released())


@cache
def _released() -> Select[Any]:
    parent = aliased(Rebuild)
    unfinished = (
        exists()
        .where(RebuildEdge.rebuild_id == Rebuild.id, RebuildEdge.parent_id == parent.id)
        .where(parent.state.not_in(DONE))
    )
    return selected().where(Rebuild.state == State.WAITING, ~unfinished).order_by(Rebuild.id)


def descendants(connection: Connection, rebuild_id: int) -> list[RebuildRecord]:
    """Every rebuild that waits for this one, directly or through others."""
    below = select(RebuildEdge.rebuild_id).where(RebuildEdge.parent_id == rebuild_id).cte("below", recursive=True)
    below = below.union(select(RebuildEdge.rebuild_id).join(below, RebuildEdge.parent_id == below.c.rebuild_id))
    return entries(connection, selected().join(below, below.c.rebuild_id == Rebuild.id).order_by(Rebuild.id))


def transfer_causes(connection: Connection, entry: RebuildRecord, heir: RebuildRecord) -> None:
    """What the one rebuild is for, and what waits for it, is from now on the other one's."""
    columns = Cause.change_id, Cause.installed, Cause.inherited_from, Cause.external
    causes = connection.execute(select(*columns).where(Cause.rebuild_id == entry.id)).mappings()
    insert_new(connection, Cause, [{**cause, "rebuild_id": heir.id} for cause in causes])
    new = bases.causes_of(connection, [entry.id]).get(entry.id, ())
    bases.keep_causes(connection, ((heir.id, base) for base in new))
    children = connection.scalars(select(RebuildEdge.rebuild_id).where(RebuildEdge.parent_id == entry.id)).all()
    insert_new(connection, RebuildEdge, [{"rebuild_id": child, "parent_id": heir.id} for child in children])
    connection.execute(delete(RebuildEdge).where(RebuildEdge.parent_id == entry.id))
    if entry.note:
        request = {"note": entry.note, "asked_by": entry.asked_by}
        connection.execute(update(Rebuild).where(Rebuild.id == heir.id).values(request))


def blocked_children(connection: Connection, rebuild_id: int) -> list[RebuildRecord]:
    """The blocked rebuilds that wait for this one."""
    query = selected().join(RebuildEdge, RebuildEdge.rebuild_id == Rebuild.id)
    blocked = query.where(RebuildEdge.parent_id == rebuild_id, Rebuild.state == State.BLOCKED)
    return entries(connection, blocked.order_by(Rebuild.id))


def blocked_by_superseded(connection: Connection, rebuild_ids: Collection[int]) -> list[RebuildRecord]:
    """The blocked rebuilds that wait for an earlier rebuild of the image of one of these, which did not succeed."""
    return entries(connection, _blocked_by_superseded(), {"of": rebuild_ids})


@cache
def _blocked_by_superseded() -> Select[Any]:
    """Made once. The state is hidden from the planner: SQLite would go through all that is blocked."""
    newer, parent = aliased(Rebuild), aliased(Rebuild)
    query = selected().join(RebuildEdge, RebuildEdge.rebuild_id == Rebuild.id)
    query = query.join(parent, parent.id == RebuildEdge.parent_id).join(newer, newer.image_id == parent.image_id)
    earlier = newer.id.in_(bindparam("of", expanding=True)), parent.id < newer.id, parent.state.in_(STOPPED)
    blocked = func.coalesce(Rebuild.state, "") == State.BLOCKED
    return query.where(blocked, *earlier).distinct().order_by(Rebuild.id)


def stopped_parents(connection: Connection, rebuild_id: int) -> list[RebuildRecord]:
    """What keeps a rebuild blocked, once it waits for the newest rebuild of each of its parents."""
    parents = entries(connection, _parents_of(rebuild_id))
    for parent in parents:
        newest = newer(connection, parent)
        if newest is not None:
            edge = RebuildEdge.rebuild_id == rebuild_id, RebuildEdge.parent_id == parent.id
            connection.execute(delete(RebuildEdge).where(*edge))
            insert_new(connection, RebuildEdge, [{"rebuild_id": rebuild_id, "parent_id": newest.id}])
    return entries(connection, _parents_of(rebuild_id))


def _parents_of(rebuild_id: int) -> Select[Any]:
    query = selected().join(RebuildEdge, RebuildEdge.parent_id == Rebuild.id)
    return query.where(RebuildEdge.rebuild_id == rebuild_id, Rebuild.state.in_(STOPPED)).order_by(Rebuild.id)
