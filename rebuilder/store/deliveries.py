"""Names that are to point to proven builds: wanted in the transaction of the proof, moved afterwards."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, exists, insert, select, update

from rebuilder.store.models import Delivery, Image, ImageBuild
from rebuilder.store.rebuilds import RebuildRecord
from rebuilder.store.upsert import chunks

# Made once: they are asked in every pass.
_PENDING = (
    select(
        Delivery.id, Image.name + ":" + Image.stream, ImageBuild.ident, Delivery.key, Delivery.spec,
        Delivery.requested_at, Delivery.reason,
    )
    .join(Image, Image.id == Delivery.image_id)
    .join(ImageBuild, ImageBuild.id == Delivery.build_id)
    .where(Delivery.state == "pending")
    .order_by(Delivery.id)
)  # fmt: skip
_ANY_PENDING = select(exists().where(Delivery.state == "pending"))


@dataclass(frozen=True, slots=True)
class Pending:
    """`spec` is to point to the build `ident` of `image`, which was made under `key`."""

    id: int
    image: str
    ident: str
    key: str
    spec: str
    requested_at: float
    reason: str


def request(connection: Connection, wanted: Sequence[tuple[RebuildRecord, int, str]], now: float) -> None:
    """For each rebuild and the id of its build: this name is to point to it. What the name was to point to is void."""
    if not wanted:
        return
    for part in chunks([spec for _, _, spec in wanted], 500):
        stale = update(Delivery).where(Delivery.state == "pending", Delivery.spec.in_(part))
        connection.execute(stale.values(state="superseded", done_at=now))
    connection.execute(insert(Delivery), [
        {"image_id": entry.image_id, "build_id": build, "key": entry.key, "spec": spec, "requested_at": now}
        for entry, build, spec in wanted
    ])  # fmt: skip


def pending(connection: Connection) -> list[Pending]:
    """All that is to be done, the oldest first."""
    return [Pending(*row) for row in connection.execute(_PENDING)]


def any_pending(connection: Connection) -> bool:
    """Whether anything is to be done."""
    return bool(connection.scalar(_ANY_PENDING))


def pending_images(connection: Connection) -> set[str]:
    """The images that have a build which a name is still to point to."""
    return {one.image for one in pending(connection)}


def pending_keys(connection: Connection, keys: Collection[str]) -> set[str]:
    """Those of these keys whose builds a name is still to point to."""
    return {one.key for one in pending(connection)}.intersection(keys)


def done(connection: Connection, ids: Sequence[int], now: float) -> None:
    """These names point to their builds now."""
    _end(connection, "done", dict.fromkeys(ids, ""), now)


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
