"""How rebuilds stand, for whoever looks: one, what is open, and their stories."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import ColumnElement, Connection, Row, exists, func, select

from rebuilder.domain.lifecycle import OPEN, RebuildRecord, Retried, State
from rebuilder.domain.schedule import JobGraph
from rebuilder.store.models import Image, Rebuild, RebuildEdge, Transition, aliased
from rebuilder.store.rebuilds import UNSETTLED, entries, last_in, selected
from rebuilder.store.upsert import chunks, numbers

FEW = 500  # images: above, all are read


def find(connection: Connection, ident: int) -> RebuildRecord | None:
    """The rebuild of that id."""
    rebuilds = entries(connection, selected().where(Rebuild.id == ident))
    return rebuilds[0] if rebuilds else None


def count_in(connection: Connection, state: State) -> int:
    """How many rebuilds are in the state; not for the states in which rebuilds end, of which there are many."""
    return connection.scalar(select(func.count()).select_from(Rebuild).where(Rebuild.state == state)) or 0


def oldest_in(connection: Connection, state: State) -> float | None:
    """When the oldest of the rebuilds in the state was planned."""
    # Of the bare column PostgreSQL would look for the smallest in all of history.
    query = select(func.min(Rebuild.created_at + 0.0)).where(Rebuild.state == state)
    created_at: float | None = connection.scalar(query)
    return created_at


def not_before(connection: Connection, rebuild_ids: Sequence[int]) -> dict[int, float]:
    """The moment before which each of these rebuilds does not start; 0 where any will do."""
    query = select(Rebuild.id, Rebuild.not_before).where(Rebuild.id.in_(numbers("these")))
    rows = connection.execute(query, {"these": rebuild_ids})
    return {row[0]: row[1] for row in rows}


def parents_in_wave(connection: Connection, rebuild_ids: Sequence[int]) -> dict[int, tuple[str, ...]]:
    """The images whose rebuilds each of these rebuilds waits, or waited, for."""
    query = (
        select(RebuildEdge.rebuild_id, Image.key)
        .join(Rebuild, Rebuild.id == RebuildEdge.parent_id)
        .join(Image, Image.id == Rebuild.image_id)
    )
    parents: dict[int, tuple[str, ...]] = {}
    query = query.where(RebuildEdge.rebuild_id.in_(numbers("children"))).order_by(Rebuild.id)
    for part in chunks(rebuild_ids):
        for ident, image in connection.execute(query, {"children": part}).all():
            parents[ident] = (*parents.get(ident, ()), image)
    return parents


def unsettled(connection: Connection, images: Collection[str]) -> dict[str, RebuildRecord]:
    """The newest rebuild of each of these images, where it is open or did not succeed."""
    query = selected().where(last_in(UNSETTLED))
    if len(images) <= FEW:
        query = query.where(Image.maybe_named(images))
    return {entry.image: entry for entry in entries(connection, query) if entry.image in images}


def open_parents(connection: Connection) -> dict[int, list[int]]:
    """Which open rebuilds each open rebuild waits for."""
    child, parent = aliased(Rebuild), aliased(Rebuild)
    query = (
        select(RebuildEdge.rebuild_id, RebuildEdge.parent_id)
        .join(child, child.id == RebuildEdge.rebuild_id)
        .join(parent, parent.id == RebuildEdge.parent_id)
        .where(child.state.in_(OPEN), parent.state.in_(OPEN))
    )
    parents: dict[int, list[int]] = {}
    for rebuild_id, parent_id in connection.execute(query.order_by(RebuildEdge.parent_id)):
        parents.setdefault(rebuild_id, []).append(parent_id)
    return parents


class Step(Struct, frozen=True):
    """One step of a rebuild's story."""

    at: float
    image: str
    event: str
    state: str
    reason: str


def jobs_of_wave(connection: Connection, wave_id: int) -> JobGraph:
    """The builds that the wave took, parents first, each as long as it was."""
    built = select(Rebuild.id, Rebuild.ended_at - Rebuild.started_at).where(Rebuild.wave_id == wave_id)
    rows = connection.execute(built.order_by(Rebuild.level, Rebuild.id))
    lengths = {ident: seconds for ident, seconds in rows if seconds is not None}
    child, parent = aliased(Rebuild), aliased(Rebuild)
    edges = (
        select(RebuildEdge.rebuild_id, RebuildEdge.parent_id)
        .join(child, child.id == RebuildEdge.rebuild_id)
        .join(parent, parent.id == RebuildEdge.parent_id)
        .where(child.wave_id == wave_id, parent.wave_id == wave_id, child.level > parent.level)
    )
    number = {ident: at for at, ident in enumerate(lengths)}
    after: list[list[int]] = [[] for _ in lengths]
    for ident, above in connection.execute(edges):
        if ident in number and above in number:
            after[number[ident]].append(number[above])
    return JobGraph(after, list(lengths.values()))


def was_retried(connection: Connection, wave_id: int) -> bool:
    """Whether a rebuild of the wave failed or was canceled, and then began anew."""
    again = exists().where(Transition.rebuild_id == Rebuild.id, Transition.event == Retried.name)
    return connection.scalar(select(Rebuild.id).where(Rebuild.wave_id == wave_id, again).limit(1)) is not None


def steps_after(connection: Connection, last: int, wave_id: int | None, limit: int) -> Sequence[Row[Any]]:
    """The first steps behind the one of that id: of one wave's rebuilds, or of all."""
    t = Transition
    columns: tuple[Any, ...] = (
        t.id, t.at, t.rebuild_id, Rebuild.wave_id, Image.key.label("image"), t.event, t.state,
        t.reason,
    )  # fmt: skip
    query = select(*columns).join(Rebuild, Rebuild.id == t.rebuild_id).join(Image, Image.id == Rebuild.image_id)
    query = query.where(t.id > last)
    if wave_id is not None:
        query = query.where(Rebuild.wave_id == wave_id)
    return connection.execute(query.order_by(t.id).limit(limit)).all()


def steps_of_wave(connection: Connection, wave_id: int) -> list[Step]:
    """All that happened to the rebuilds of a wave, in the order in which it did."""
    return _steps(connection, Rebuild.wave_id == wave_id)


def steps_of(connection: Connection, ident: int) -> list[Step]:
    """All that happened to a rebuild."""
    return _steps(connection, Rebuild.id == ident)


def _steps(connection: Connection, condition: ColumnElement[bool]) -> list[Step]:
    query = (
        select(Transition.at, Image.key, Transition.event, Transition.state, Transition.reason)
        .join(Rebuild, Rebuild.id == Transition.rebuild_id)
        .join(Image, Image.id == Rebuild.image_id)
        .where(condition)
    )
    return [Step(*row) for row in connection.execute(query.order_by(Transition.id))]


class Attempt(Struct, frozen=True):
    """One build of a rebuild, by the builder's name of it. `outcome` is the event that ended it; empty before that."""

    number: int
    at: float
    ref: str
    log: str
    outcome: str = ""


def attempts_of(connection: Connection, entry: RebuildRecord) -> list[Attempt]:
    """The builds that a builder accepted for a rebuild, retries included, the first one first."""
    t = Transition
    query = select(t.at, t.event, t.ref, t.log).where(t.rebuild_id == entry.id).order_by(t.id)
    attempts: list[Attempt] = []
    for at, event, ref, log in connection.execute(query):
        _follow(attempts, event, Attempt(len(attempts) + 1, at, ref, log))
    if entry.ref and entry.ref not in {attempt.ref for attempt in attempts}:  # accepted before this was recorded
        attempts.append(Attempt(len(attempts) + 1, entry.started_at or entry.created_at, entry.ref, entry.log))
    return attempts


def _follow(attempts: list[Attempt], event: str, attempt: Attempt) -> None:
    """One more step of a rebuild: it begins the attempt, or ends the last one; a build is accepted once."""
    last = attempts[-1] if attempts else None
    if event == "accepted":
        if attempt.ref and (last is None or last.ref != attempt.ref):
            attempts.append(attempt)
    elif last is not None and not last.outcome:
        attempts[-1] = replace(last, outcome=event)
