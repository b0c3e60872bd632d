"""That builds are in registries, as it is announced: by whoever pushed them, with the names that they got there."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import Connection, select

from rebuilder.domain.topics import Notice, StateFacts
from rebuilder.store import outbox
from rebuilder.store.models import Delivery, ImageBuild, Rebuild


def given(connection: Connection, delivery_ids: Collection[int], now: float) -> None:
    """These names in registries point to their builds now."""
    if not outbox.announces(connection, Notice.IMAGE_PUSHED):
        return
    query = select(Delivery.build_id, Delivery.spec).where(Delivery.id.in_(delivery_ids)).order_by(Delivery.id)
    names: dict[int, list[str]] = {}
    for build_id, spec in connection.execute(query):
        names.setdefault(build_id, []).append(spec)
    _announce(connection, names, now)


def by_builder(connection: Connection, build_ids: Collection[int], now: float) -> None:
    """These builds are good; those that their builder pushed are announced with the names that it gave them."""
    if not outbox.announces(connection, Notice.IMAGE_PUSHED):
        return
    query = select(ImageBuild.id, ImageBuild.tags).where(ImageBuild.id.in_(build_ids))
    names = {row.id: [spec for spec in row.tags if "@" not in spec] for row in connection.execute(query) if row.tags}
    _announce(connection, names, now)


def _announce(connection: Connection, names: Mapping[int, Sequence[str]], now: float) -> None:
    """Of each build the rebuild that made it; what somebody else built is no rebuild's."""
    columns = Rebuild.id, Rebuild.wave_id, Rebuild.attempt, Rebuild.started_at, Rebuild.log, Rebuild.build_id
    rows = connection.execute(select(*columns).where(Rebuild.build_id.in_(list(names))).order_by(Rebuild.id))
    newest = {row.build_id: row for row in rows}
    for build_id, row in newest.items():
        facts = StateFacts(
            attempt=row.attempt, started=row.started_at, log=row.log, build=build_id, names=tuple(names[build_id])
        )
        outbox.about_rebuild(connection, Notice.IMAGE_PUSHED, row.wave_id, row.id, now, facts)
