"""Rebuilds, and the sets of them that the engine asks for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from itertools import product
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
    Exists,
    Select,
    and_,
    bindparam,
    exists,
    func,
    or_,
    select,
    update,
)

from rebuilder.domain.lifecycle import LIVE, OPEN, PENDING, STOPPED, RebuildRecord, State, key_of_attempt
from rebuilder.store.holds import paused
from rebuilder.store.models import Hold, Image, Rebuild
from rebuilder.store.upsert import chunks

DONE = frozenset({State.SUCCEEDED, State.UNNEEDED})
UNSETTLED = OPEN | STOPPED
ATTEMPTS = 20  # of a rebuild that are looked for at a builder
NOW: ColumnElement[float] = bindparam("now", type_=Double)
_STATES = {str(state): state for state in State}
_BEGUN = update(Rebuild).where(Rebuild.id == bindparam("of")).values(begun_at=bindparam("at"))
_LIVE_BY_STREAM = (
    select(Image.stream, func.count()).join(Rebuild, Rebuild.image_id == Image.id)
    .where(Rebuild.state.in_(sorted(LIVE))).group_by(Image.stream)
)  # fmt: skip


def selected() -> Select[Any]:
    """All rebuilds with their images, to be filtered and handed to `entries`."""
    r = Rebuild
    columns: tuple[Any, ...] = (
        r.id, r.wave_id, r.image_id, Image.key.label("image"), r.state, r.severity, r.level,
        r.attempt, r.spared, r.key, r.ref, r.log, r.reason, r.note, r.asked_by, r.created_at, r.started_at,
        r.begun_at, r.ended_at,
    )
    return select(*columns).join(Image, Image.id == r.image_id)


def entries(connection: Connection, query: Select[Any], values: Mapping[str, Any] | None = None) -> list[RebuildRecord]:
    """What the query selects, with these values for what it leaves open."""
    return [entry_of(row) for row in connection.execute(query, values).all()]


def entry_of(row: Sequence[Any]) -> RebuildRecord:
    """A row of `selected` as a value."""
    ident, wave_id, image_id, image, state, *rest = row
    return RebuildRecord(ident, wave_id, image_id, image, _STATES[state], *rest)


_OF_KEYS = selected().where(Rebuild.key.in_(bindparam("keys", expanding=True)))


def in_states(connection: Connection, states: Iterable[State], limit: int | None = None) -> list[RebuildRecord]:
    """All rebuilds in these states, or the first of them, in the order of the queue."""
    return entries(connection, _in_states(frozenset(states), limit))


@cache
def _in_states(states: frozenset[State], limit: int | None) -> Select[Any]:
    """Made once, as whatever the engine asks in every pass."""
    query = selected().where(Rebuild.state.in_(sorted(states))).order_by(Rebuild.rank, Rebuild.id)
    return query.limit(limit)


def live_by_stream(connection: Connection) -> dict[str, int]:
    """How many builds are under way in each stream that has any."""
    return dict(connection.execute(_LIVE_BY_STREAM).tuples().all())


def of_wave(connection: Connection, wave_id: int) -> list[RebuildRecord]:
    """The rebuilds of a wave, parents first."""
    return entries(connection, selected().where(Rebuild.wave_id == wave_id).order_by(Rebuild.level, Rebuild.id))


def failed_in(connection: Connection, wave_ids: Collection[int], limit: int) -> list[RebuildRecord]:
    """The first failed rebuilds of these waves, parents first."""
    query = selected().where(Rebuild.wave_id.in_(wave_ids), Rebuild.state == State.FAILED)
    return entries(connection, query.order_by(Rebuild.wave_id, Rebuild.level, Rebuild.id).limit(limit))


def of_image(connection: Connection, image_id: int, limit: int) -> list[RebuildRecord]:
    """The last rebuilds of an image, newest first."""
    return entries(connection, selected().where(Rebuild.image_id == image_id).order_by(Rebuild.id.desc()).limit(limit))


def last_in(states: Iterable[State]) -> ColumnElement[bool]:
    """Whether a rebuild is the last of its image, and in one of these states.

    The state is hidden from the planner: SQLite would go through all that ever ended so, not the last of each image.
    """
    return and_(func.coalesce(Rebuild.state, "").in_(sorted(states)), ~Rebuild.superseded)


def images_in(connection: Connection, states: Iterable[State]) -> set[str]:
    """The images of the inventory whose last rebuild is in one of these states."""
    query = select(Image.key).join(Rebuild, Rebuild.image_id == Image.id)
    return set(connection.scalars(query.where(Image.present, last_in(states))))


def newest_waves(connection: Connection, images: Sequence[str]) -> set[int]:
    """The waves of the newest rebuilds of these images, by name:stream."""
    query = select(Rebuild.wave_id).join(Image, Image.id == Rebuild.image_id).where(~Rebuild.superseded)
    return {wave for part in chunks(images, 500) for wave in connection.scalars(query.where(Image.key.in_(part)))}


def of_ids(connection: Connection, ids: Sequence[int]) -> dict[int, RebuildRecord]:
    """These rebuilds by their ids."""
    return {entry.id: entry for entry in entries(connection, selected().where(Rebuild.id.in_(ids)))}


def of_keys(connection: Connection, keys: Collection[str]) -> list[RebuildRecord]:
    """The rebuilds that builders know by these keys."""
    return [entry for part in chunks(list(keys), 500) for entry in entries(connection, _OF_KEYS, {"keys": part})]


def of_refs(connection: Connection, refs: Collection[str]) -> list[RebuildRecord]:
    """The live rebuilds whose builds have these refs."""
    refs = set(refs)
    return [entry for entry in in_states(connection, [State.BUILDING]) if entry.ref in refs]


def latest_of_image(connection: Connection, image: str) -> RebuildRecord | None:
    """The last rebuild of an image that has begun, else its last one."""
    query = selected().where(Image.named(image))
    rebuilds = entries(connection, query.order_by((Rebuild.ref != "").desc(), Rebuild.id.desc()).limit(1))
    return rebuilds[0] if rebuilds else None


def _held(now: float | ColumnElement[float]) -> Exists:
    return exists().where(Hold.image_id == Rebuild.image_id, Hold.in_force(now))


def settled(connection: Connection, keys: Collection[str]) -> set[str]:
    """Those of these builds' keys whose rebuilds are known, and over; earlier attempts of them, too."""
    keys_of: dict[str, set[str]] = {}  # of one rebuild several attempts may be asked for
    for key, attempt in product(keys, range(1, ATTEMPTS + 1)):
        keys_of.setdefault(key_of_attempt(key, attempt), set()).add(key)
    stored: set[str] = set()
    open_: set[str] = set()
    for part in chunks(sorted(keys_of), 500):
        for name, state in connection.execute(select(Rebuild.key, Rebuild.state).where(Rebuild.key.in_(part))):
            stored |= keys_of[name]
            open_ |= keys_of[name] if state in OPEN else set()
    return stored - open_


def refresh(connection: Connection, entry: RebuildRecord) -> RebuildRecord:
    """The same rebuild as it is now."""
    return entries(connection, selected().where(Rebuild.id == entry.id))[0]


def newer(connection: Connection, entry: RebuildRecord) -> RebuildRecord | None:
    """The image's newest rebuild, where that is not this one."""
    (newest,) = of_image(connection, entry.image_id, 1)
    return None if newest.id == entry.id else newest


def pending_successor(connection: Connection, entry: RebuildRecord) -> RebuildRecord | None:
    """The further rebuild that waits for the image's live one to end."""
    query = selected().where(Rebuild.image_id == entry.image_id, Rebuild.state.in_(PENDING), Rebuild.id != entry.id)
    rebuilds = entries(connection, query)
    return rebuilds[0] if rebuilds else None


def submitting(connection: Connection, now: float) -> list[RebuildRecord]:
    """The rebuilds to be handed over to the builder now."""
    return entries(connection, _submitting(), {"now": now})


@cache
def _submitting() -> Select[Any]:
    query = selected().where(Rebuild.state == State.SUBMITTING, Rebuild.not_before <= NOW, ~_held(NOW))
    return query.order_by(Rebuild.rank, Rebuild.id)


def begun(connection: Connection, moments: Mapping[int, float]) -> None:
    """The builder began with these builds, by its own clock; by the rebuilds' ids."""
    if moments:
        connection.execute(_BEGUN, [{"of": ident, "at": at} for ident, at in moments.items()])


def postpone(connection: Connection, entry: RebuildRecord, until: float) -> None:
    """Hand it over to the builder later."""
    connection.execute(update(Rebuild).where(Rebuild.id == entry.id).values(not_before=until))


def unsettled(connection: Connection) -> dict[str, State]:
    """The images whose last rebuild is open or did not succeed, each with its state."""
    query = select(Image.key, Rebuild.state).join(Image, Image.id == Rebuild.image_id)
    rows = connection.execute(query.where(last_in(UNSETTLED)))
    return {image: State(state) for image, state in rows}


def failed(connection: Connection) -> list[tuple[RebuildRecord, str]]:
    """The images' last rebuilds that failed, each with the version of the source that it was dispatched with."""
    query = selected().add_columns(Rebuild.source).where(last_in({State.FAILED}))
    rows = connection.execute(query.where(Image.present, Rebuild.source != "").order_by(Rebuild.id))
    return [(entry_of(row[:-1]), row[-1]) for row in rows]


def any_moving(connection: Connection, now: float) -> bool:
    """Whether a build is under way or will be, without an operator: what is held, and what waits for it, stands."""
    moving: ColumnElement[bool] = Rebuild.state.in_(LIVE)
    if paused(connection, now) is None:
        moving = or_(moving, and_(Rebuild.state == State.QUEUED, ~_held(now)))
    return bool(connection.scalar(select(exists().where(moving))))


def any_stopped(connection: Connection) -> bool:
    """Whether the last rebuild of some image did not succeed."""
    return bool(connection.scalar(select(exists().where(last_in(STOPPED)))))
