"""Names that are to point to proven builds: wanted in the transaction of the proof, given afterwards.

This is how any name is moved, to a new build or back to an old one: `request` writes down that it is to move, in the
transaction of the decision; the engine's `Promotions` (on this machine) and `Pushes` (in registries) move it beside the
loop, again and again until it is done, also after a crash. A name that `waits` is moved once it is `promote`d.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct
from sqlalchemy import Connection, Exists, bindparam, distinct, exists, func, insert, select, update

from rebuilder.domain.external import pinned
from rebuilder.store import rebuilds
from rebuilder.store.models import Delivery, Hold, Image, ImageBuild, Rebuild, aliased
from rebuilder.store.upsert import chunks

# Made once: they are asked in every pass.
_PENDING = (
    select(
        Delivery.id, Image.key, ImageBuild.ident, Delivery.key, Delivery.spec, Delivery.build_id,
        Delivery.moves, Delivery.remote, Delivery.at,
    )
    .join(Image, Image.id == Delivery.image_id)
    .join(ImageBuild, ImageBuild.id == Delivery.build_id)
    .where(Delivery.state == "pending")
    .order_by(Delivery.id)
)  # fmt: skip
_WAITING = (
    select(Delivery.id, Image.key, Delivery.spec, Rebuild.wave_id, Delivery.requested_at)
    .join(Image, Image.id == Delivery.image_id)
    .outerjoin(Rebuild, Rebuild.key == Delivery.key)
    .where(Delivery.state == "waiting")
    .order_by(Delivery.id)
)
_ANY_WAITING = select(exists().where(Delivery.state == "waiting"))
IS_ANY_PENDING = exists().where(Delivery.state == "pending")
_ANY_PENDING = select(IS_ANY_PENDING)
_NAMED = (
    select(Delivery.id, Delivery.build_id, Delivery.spec, ImageBuild.tags)
    .join(ImageBuild, ImageBuild.id == Delivery.build_id)
    .where(Delivery.id.in_(bindparam("idents", expanding=True)))
    .order_by(Delivery.id)
)
_OF_DELIVERY = update(Delivery).where(Delivery.id == bindparam("which"))
_SET_PLACE = _OF_DELIVERY.values(at=bindparam("place"))
_END = _OF_DELIVERY.where(Delivery.state == "pending").values(
    state=bindparam("now_is"), reason=bindparam("why"), done_at=bindparam("moment")
)
_SET_NAMES = (
    update(ImageBuild)
    .where(ImageBuild.id == bindparam("which"))
    .values(tags=bindparam("names"), digest=bindparam("found"))
)


class Wanted(Struct, frozen=True):
    """A name that a build of an image, made under `key`, is to have: on this machine, or in a registry (`remote`).

    One that `waits` is given when it is promoted. `at` is where the build is already, as a pull spec by digest.
    """

    image_id: int
    key: str
    build_id: int
    spec: str
    moves: bool = True
    remote: bool = False
    waits: bool = False
    at: str = ""


class Pending(Struct, frozen=True):
    """`spec` is to point to the build `ident` of `image`, which was made under `key`.

    One that `moves` is a tag that other builds had before, and will have. `at` is where the build is in a registry, by
    digest, where that is known.
    """

    id: int
    image: str
    ident: str
    key: str
    spec: str
    build_id: int
    moves: bool
    remote: bool
    at: str


def request(connection: Connection, names: Sequence[Wanted], now: float) -> None:
    """These names are to point to these builds. What one of them was to point to is void.

    A name that waits leaves alone what is to be done at once: that was decided, and what waits may never be.
    """
    if not names:
        return
    _supersede(connection, [one.spec for one in names], ["waiting"], now)
    _supersede(connection, [one.spec for one in names if not one.waits], ["pending"], now)
    connection.execute(insert(Delivery), [
        {"image_id": one.image_id, "build_id": one.build_id, "key": one.key, "spec": one.spec, "moves": one.moves,
         "remote": one.remote, "state": "waiting" if one.waits else "pending", "at": one.at, "requested_at": now}
        for one in names
    ])  # fmt: skip


def _supersede(connection: Connection, specs: Sequence[str], states: Sequence[str], now: float) -> None:
    for part in chunks(specs, 500):
        stale = update(Delivery).where(Delivery.state.in_(states), Delivery.spec.in_(part))
        connection.execute(stale.values(state="superseded", done_at=now))


class Waiting(Struct, frozen=True):
    """`spec` is to point to a proven and tested build of `image` once it is promoted, of the rebuild of that wave."""

    id: int
    image: str
    spec: str
    wave_id: int | None
    since: float


def waiting(connection: Connection) -> list[Waiting]:
    """All names that wait to be promoted, the oldest first."""
    return [Waiting(*row) for row in connection.execute(_WAITING)]


def waiting_of(connection: Connection, key: str) -> list[str]:
    """The names that wait to be promoted to the build which was made under that key."""
    mine = Delivery.state == "waiting", Delivery.key == key
    return list(connection.scalars(select(Delivery.spec).where(*mine).order_by(Delivery.id)))


def waiting_of_wave(connection: Connection, wave_id: int) -> list[Waiting]:
    """The names that wait to be promoted to builds of this wave, the oldest first."""
    return [Waiting(*row) for row in connection.execute(_WAITING.where(Rebuild.wave_id == wave_id))]


def waiting_of_image(connection: Connection, image_id: int) -> list[Waiting]:
    """The names of an image that wait to be promoted, the oldest first."""
    return [Waiting(*row) for row in connection.execute(_WAITING.where(Delivery.image_id == image_id))]


def any_waiting(connection: Connection) -> bool:
    """Whether any name waits to be promoted."""
    return bool(connection.scalar(_ANY_WAITING))


def promotable(connection: Connection, *, whole_waves: bool, now: float) -> list[int]:
    """The names that wait, and whose images are not on hold; those of waves alone in which all is good."""
    held = exists().where(Hold.image_id == Delivery.image_id, Hold.in_force(now))
    query = select(Delivery.id).where(Delivery.state == "waiting", ~held)
    if whole_waves:
        query = query.join(Rebuild, Rebuild.key == Delivery.key).where(~_bad_wave())
    return list(connection.scalars(query.order_by(Delivery.id)))


def _bad_wave() -> Exists:
    """The wave of the rebuild has one that is not good, and whose image no later one has made good."""
    mate, later = aliased(Rebuild), aliased(Rebuild)
    mended = exists().where(
        later.image_id == mate.image_id, ~later.superseded, later.id > mate.id, later.state.in_(sorted(rebuilds.DONE))
    )
    return exists().where(mate.wave_id == Rebuild.wave_id, mate.state.not_in(sorted(rebuilds.DONE)), ~mended)


def promote(connection: Connection, ids: Sequence[int], now: float) -> None:
    """Let these names move that wait for it."""
    for part in chunks(ids, 500):
        specs = connection.scalars(select(Delivery.spec).where(Delivery.id.in_(part), Delivery.state == "waiting"))
        _supersede(connection, specs.all(), ["pending"], now)
        mine = update(Delivery).where(Delivery.id.in_(part), Delivery.state == "waiting")
        connection.execute(mine.values(state="pending"))


def pushed_since(connection: Connection, image_ids: Sequence[int], moment: float) -> dict[int, int]:
    """How many builds of each of these images were to be pushed since `moment` (seconds since the epoch)."""
    query = select(Delivery.image_id, func.count(distinct(Delivery.build_id))).where(
        Delivery.image_id.in_(image_ids), Delivery.remote, Delivery.requested_at >= moment
    )
    return {row[0]: row[1] for row in connection.execute(query.group_by(Delivery.image_id))}


def pending(connection: Connection, *, remote: bool) -> list[Pending]:
    """All that is to be done, on this machine or in registries, the oldest first."""
    return [one for row in connection.execute(_PENDING) if (one := Pending(*row)).remote is remote]


def any_pending(connection: Connection) -> bool:
    """Whether anything is to be done."""
    return bool(connection.scalar(_ANY_PENDING))


def pending_images(connection: Connection) -> set[str]:
    """The images that have a build which a name on this machine is still to point to, now or once it is promoted."""
    return {one.image for one in pending(connection, remote=False)} | {one.image for one in waiting(connection)}


def pending_keys(connection: Connection, keys: Collection[str]) -> set[str]:
    """Those of these keys whose builds a name is still to point to."""
    query = select(Delivery.key).where(Delivery.state.in_(("pending", "waiting")))
    return set(connection.scalars(query)).intersection(keys)


def places(connection: Connection, build_ids: Collection[int]) -> dict[int, str]:
    """Where each of these builds is in some registry already, by digest."""
    query = select(Delivery.build_id, func.max(Delivery.at)).where(Delivery.build_id.in_(build_ids), Delivery.at != "")
    return {row[0]: row[1] for row in connection.execute(query.group_by(Delivery.build_id))}


def done(connection: Connection, ids: Sequence[int], now: float) -> None:
    """These names point to their builds now."""
    _end(connection, "done", dict.fromkeys(ids, ""), now)


def pushed(connection: Connection, given: Mapping[int, str], now: float) -> None:
    """These names point to their builds, whose pull specs by digest these are: the builds' records say so, too."""
    done(connection, list(given), now)
    if not given:
        return
    connection.execute(_SET_PLACE, [{"which": ident, "place": at} for ident, at in given.items()])
    tags: dict[int, list[str]] = {}
    places: dict[int, str] = {}
    for row in connection.execute(_NAMED, {"idents": list(given)}):
        tags.setdefault(row.build_id, list(row.tags)).extend((row.spec, given[row.id]))
        places[row.build_id] = given[row.id]
    connection.execute(_SET_NAMES, [
        {"which": build, "names": list(dict.fromkeys(names)), "found": pinned(places[build])}
        for build, names in tags.items()
    ])  # fmt: skip


def refused(connection: Connection, reasons: Mapping[int, str], now: float) -> None:
    """These never will; each with the reason."""
    _end(connection, "refused", reasons, now)


def delayed(connection: Connection, reasons: Mapping[int, str]) -> None:
    """Why these could not be done yet."""
    for ident, reason in reasons.items():
        connection.execute(update(Delivery).where(Delivery.id == ident).values(reason=reason))


def _end(connection: Connection, state: str, reasons: Mapping[int, str], now: float) -> None:
    """One that was made void meanwhile stays so."""
    rows = [{"which": one, "now_is": state, "why": reason, "moment": now} for one, reason in reasons.items()]
    if rows:
        connection.execute(_END, rows)
