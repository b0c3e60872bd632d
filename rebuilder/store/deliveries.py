"""Names that are to point to proven builds: wanted in the transaction of the proof, given afterwards."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, distinct, exists, func, insert, select, update

from rebuilder.store.models import Delivery, Image, ImageBuild
from rebuilder.store.rebuilds import RebuildRecord
from rebuilder.store.upsert import chunks

# Made once: they are asked in every pass.
_PENDING = (
    select(
        Delivery.id, Image.name + ":" + Image.stream, ImageBuild.ident, Delivery.key, Delivery.spec, Delivery.build_id,
        Delivery.moves, Delivery.remote,
    )
    .join(Image, Image.id == Delivery.image_id)
    .join(ImageBuild, ImageBuild.id == Delivery.build_id)
    .where(Delivery.state == "pending")
    .order_by(Delivery.id)
)  # fmt: skip
_ANY_PENDING = select(exists().where(Delivery.state == "pending"))


@dataclass(frozen=True, slots=True)
class Wanted:
    """A name that the rebuild's build is to have: on this machine, or in a registry (`remote`)."""

    entry: RebuildRecord
    build_id: int
    spec: str
    moves: bool = True
    remote: bool = False


@dataclass(frozen=True, slots=True)
class Pending:
    """`spec` is to point to the build `ident` of `image`, which was made under `key`.

    One that `moves` is a tag that other builds had before, and will have.
    """

    id: int
    image: str
    ident: str
    key: str
    spec: str
    build_id: int
    moves: bool
    remote: bool


def request(connection: Connection, wanted: Sequence[Wanted], now: float) -> None:
    """These names are to point to these builds. What one of them was to point to is void."""
    if not wanted:
        return
    for part in chunks([one.spec for one in wanted], 500):
        stale = update(Delivery).where(Delivery.state == "pending", Delivery.spec.in_(part))
        connection.execute(stale.values(state="superseded", done_at=now))
    connection.execute(insert(Delivery), [
        {"image_id": one.entry.image_id, "build_id": one.build_id, "key": one.entry.key, "spec": one.spec,
         "moves": one.moves, "remote": one.remote, "requested_at": now}
        for one in wanted
    ])  # fmt: skip


def pushed_since(connection: Connection, image_ids: Sequence[int], moment: float) -> dict[int, int]:
    """How many builds of each of these images were to be pushed since then."""
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
    """The images that have a build which a name on this machine is still to point to."""
    return {one.image for one in pending(connection, remote=False)}


def pending_keys(connection: Connection, keys: Collection[str]) -> set[str]:
    """Those of these keys whose builds a name is still to point to."""
    return {Pending(*row).key for row in connection.execute(_PENDING)}.intersection(keys)


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
    for ident, at in given.items():
        connection.execute(update(Delivery).where(Delivery.id == ident).values(at=at))
        row = connection.execute(
            select(ImageBuild.id, ImageBuild.tags, Delivery.spec)
            .join(Delivery, Delivery.build_id == ImageBuild.id)
            .where(Delivery.id == ident)
        ).one()
        tags = list(dict.fromkeys([*row.tags, row.spec, at]))
        new = update(ImageBuild).where(ImageBuild.id == row.id)
        connection.execute(new.values(tags=tags, digest=at.partition("@")[2]))


def refused(connection: Connection, reasons: Mapping[int, str], now: float) -> None:
    """These never will; each with the reason."""
    _end(connection, "refused", reasons, now)


def delayed(connection: Connection, reasons: Mapping[int, str]) -> None:
    """Why these could not be done yet."""
    for ident, reason in reasons.items():
        connection.execute(update(Delivery).where(Delivery.id == ident).values(reason=reason))


def _end(connection: Connection, state: str, reasons: Mapping[int, str], now: float) -> None:
    """One that was made void meanwhile stays so."""
    for ident, reason in reasons.items():
        mine = update(Delivery).where(Delivery.id == ident, Delivery.state == "pending")
        connection.execute(mine.values(state=state, reason=reason, done_at=now))
