"""Builds that no rebuild waits for any more: the builder must stop them, and no build of their images begins before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct
from sqlalchemy import Connection, delete, exists, select, update

from rebuilder.domain.lifecycle import RebuildRecord
from rebuilder.store.models import Cancellation, Image
from rebuilder.store.upsert import insert_new

# Made once: they are asked in every pass.
_PENDING = (
    select(Cancellation.id, Image.key, Cancellation.key, Cancellation.ref, Cancellation.requested_at)
    .join(Image, Image.id == Cancellation.image_id)
    .order_by(Cancellation.id)
)
IS_ANY_PENDING = exists().where(Cancellation.id.is_not(None))
_ANY_PENDING = select(IS_ANY_PENDING)


class Pending(Struct, frozen=True):
    """A build to be stopped. `ref` is empty until the builder has said whether it has the build."""

    id: int
    image: str
    key: str
    ref: str
    requested_at: float


def request(connection: Connection, entries: Sequence[RebuildRecord], now: float) -> None:
    """Have the builder stop what it has, or may get, of these rebuilds."""
    insert_new(connection, Cancellation, [
        {"rebuild_id": entry.id, "image_id": entry.image_id, "key": entry.key, "ref": entry.ref, "requested_at": now}
        for entry in entries
    ])  # fmt: skip


def pending(connection: Connection) -> list[Pending]:
    """All that is to be stopped, the oldest first."""
    return [Pending(*row) for row in connection.execute(_PENDING)]


def any_pending(connection: Connection) -> bool:
    """Whether anything is to be stopped."""
    return bool(connection.scalar(_ANY_PENDING))


def found(connection: Connection, key: str, ref: str) -> None:
    """The builder has the build, under this ref."""
    connection.execute(update(Cancellation).where(Cancellation.key == key).values(ref=ref))


def done(connection: Connection, keys: Iterable[str]) -> None:
    """These are stopped, have ended, or never arrived at the builder."""
    connection.execute(delete(Cancellation).where(Cancellation.key.in_(list(keys))))
