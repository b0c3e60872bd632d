"""How far waves are, what is still to come, and what went wrong."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterator, Sequence
from itertools import islice

from msgspec import Struct
from sqlalchemy import Connection, Select, func, select

from rebuilder.domain.image import Image as ImageValue
from rebuilder.domain.lifecycle import OPEN, STOPPED, RebuildRecord, State
from rebuilder.domain.schedule import durations
from rebuilder.store import build_durations, rebuild_dependencies, rebuild_progress, rebuilds
from rebuilder.store.models import Change, Image, Rebuild, RebuildEdge, WaveChange, aliased
from rebuilder.store.read_cache import cached, kept
from rebuilder.store.upsert import chunks

HISTORY, SHOWN_BY_WAVE = 200, 300
STOPPED_SHOWN = 200
_OPEN_ONES = "open rebuilds"


class OpenRebuild(Struct, frozen=True):
    """A rebuild that is not done: the open ones that it waits for, its place in the queue, the seconds of its build."""

    entry: RebuildRecord
    after: tuple[int, ...]
    rank: float
    seconds: float


def open_ones(connection: Connection) -> tuple[OpenRebuild, ...]:
    """All that is open, in the order of the queue."""
    return cached(connection, _OPEN_ONES, lambda: tuple(_open_ones(connection)))


def _open_ones(connection: Connection) -> Iterator[OpenRebuild]:
    query = rebuilds.selected().add_columns(Rebuild.rank, Image.name, Image.stream, Image.estimate, Image.measured)
    rows = connection.execute(query.where(Rebuild.state.in_(OPEN)).order_by(Rebuild.rank, Rebuild.id)).all()
    after = rebuild_progress.open_parents(connection)
    images = [ImageValue(name, stream, (), estimate=estimate) for *_, name, stream, estimate, _ in rows]
    measured = {image.key: row[-1] for image, row in zip(images, rows, strict=True) if row[-1]}
    if any(not image.estimate and image.key not in measured for image in images):
        measured = build_durations.measured(connection)  # builds of their streams have a typical time
    seconds = durations(images, measured)
    for row in rows:
        entry = rebuilds.entry_of(row[:-5])
        yield OpenRebuild(entry, tuple(after.get(entry.id, ())), row[-5], seconds[entry.image])


def in_states(connection: Connection, states: Container[State], limit: int | None = None) -> list[RebuildRecord]:
    """The rebuilds in these states, which are open ones, or the first of them, in the order of the queue.

    Whoever read all that is open has them already.
    """
    records = kept(connection, _OPEN_ONES)
    if records is None:
        return rebuilds.in_states(connection, (state for state in OPEN if state in states), limit)
    return list(islice((one.entry for one in records if one.entry.state in states), limit))


class Queued(Struct, frozen=True):
    """How many rebuilds are queued, and when the oldest of them was planned; None where there is none."""

    length: int
    oldest: float | None


def queued(connection: Connection) -> Queued:
    """How long the queue is."""
    records = kept(connection, _OPEN_ONES)
    if records is None:
        length = rebuild_progress.count_in(connection, State.QUEUED)
        return Queued(length, rebuild_progress.oldest_in(connection, State.QUEUED))
    planned = [one.entry.created_at for one in records if one.entry.state is State.QUEUED]
    return Queued(len(planned), min(planned, default=None))


class Ended(Struct, frozen=True):
    """A build that succeeded: its wave, and how long it took over what was expected when it was planned."""

    wave: int
    ratio: float


def ended_in(connection: Connection, wave_ids: Collection[int]) -> list[Ended]:
    """The newest builds that succeeded in each of these waves.

    State and order are hidden from the planner, which else looks for the wave among all that ever succeeded.
    """
    succeeded, order = func.coalesce(Rebuild.state, "") == State.SUCCEEDED, (Rebuild.id + 0).desc()
    query = _ended().where(succeeded).order_by(order).limit(SHOWN_BY_WAVE)
    return [one for wave in wave_ids for one in _ratios(connection, query.where(Rebuild.wave_id == wave))]


def ended_last(connection: Connection) -> list[Ended]:
    """The newest builds that succeeded, of whatever wave."""
    query = _ended().where(Rebuild.state == State.SUCCEEDED).order_by(Rebuild.id.desc()).limit(HISTORY)
    return _ratios(connection, query)


def _ended() -> Select[int, float | None, float | None]:
    took = func.coalesce(Rebuild.built_at, Rebuild.ended_at) - func.coalesce(Rebuild.begun_at, Rebuild.started_at)
    return select(Rebuild.wave_id, took, Rebuild.expected)


def _ratios(connection: Connection, query: Select[int, float | None, float | None]) -> list[Ended]:
    rows = connection.execute(query).all()
    return [Ended(wave, took / expected) for wave, took, expected in rows if took and expected]


def parents_in(connection: Connection, wave_id: int) -> dict[int, tuple[int, ...]]:
    """For each rebuild of the wave that waits or waited for others of the wave: those."""
    parent = aliased(Rebuild)
    query = (
        select(RebuildEdge.rebuild_id, RebuildEdge.parent_id)
        .join(Rebuild, Rebuild.id == RebuildEdge.rebuild_id)
        .join(parent, parent.id == RebuildEdge.parent_id)
        .where(Rebuild.wave_id == wave_id, parent.wave_id == wave_id)
        .order_by(RebuildEdge.rebuild_id, RebuildEdge.parent_id)
    )
    parents: dict[int, tuple[int, ...]] = {}
    for rebuild_id, parent_id in connection.execute(query).all():
        parents[rebuild_id] = (*parents.get(rebuild_id, ()), parent_id)
    return parents


def counts_of(connection: Connection, wave_ids: Sequence[int]) -> dict[int, dict[State, int]]:
    """How many rebuilds each of these waves has in each state."""
    query = select(Rebuild.wave_id, Rebuild.state, func.count()).where(Rebuild.wave_id.in_(wave_ids))
    counts: dict[int, dict[State, int]] = {wave_id: {} for wave_id in wave_ids}
    for wave_id, state, count in connection.execute(query.group_by(Rebuild.wave_id, Rebuild.state)):
        counts[wave_id][State(state)] = count
    return counts


def changes_of(connection: Connection, wave_ids: Sequence[int]) -> dict[int, list[tuple[int, str]]]:
    """The changes of each of these waves: their ids, and their source builds' names."""
    query = (
        select(WaveChange.wave_id, Change.id, Change.source + "-" + Change.version_release)
        .join(Change, Change.id == WaveChange.change_id)
        .where(WaveChange.wave_id.in_(wave_ids))
        .order_by(WaveChange.wave_id, Change.id)
    )
    by_wave: dict[int, list[tuple[int, str]]] = {wave_id: [] for wave_id in wave_ids}
    for wave_id, change_id, nvr in connection.execute(query):
        by_wave[wave_id].append((change_id, nvr))
    return by_wave


def stopped(connection: Connection, limit: int) -> list[RebuildRecord]:
    """What is not well: of each image the last rebuild, where that failed or was canceled, newest first."""
    most = max(limit, STOPPED_SHOWN)
    return cached(connection, ("stopped", most), lambda: _stopped(connection, most))[:limit]


def _stopped(connection: Connection, limit: int) -> list[RebuildRecord]:
    query = rebuilds.selected().where(rebuilds.last_in(STOPPED - {State.BLOCKED}))
    order = (Rebuild.id + 0).desc()  # in the order of ids SQLite would go through all rebuilds, where few are not well
    return rebuilds.entries(connection, query.order_by(order).limit(limit))


def blocked_below(connection: Connection, rebuild_id: int) -> int:
    """How many blocked rebuilds there are below this one."""
    return sum(entry.state is State.BLOCKED for entry in rebuild_dependencies.descendants(connection, rebuild_id))


def image_ids(connection: Connection, keys: Collection[str]) -> dict[str, int]:
    """The ids of these images, those that left the inventory included."""
    ids: dict[str, int] = {}
    for part in chunks(sorted(keys), 500):
        ids.update(connection.execute(select(Image.key, Image.id).where(Image.maybe_named(part))).tuples().all())
    return {key: ident for key, ident in ids.items() if key in keys}
