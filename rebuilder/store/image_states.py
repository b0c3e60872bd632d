"""An image's nearest relatives, without reading the whole graph."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, and_, select

from rebuilder.store.models import Image, ImageParent, Rebuild
from rebuilder.store.upsert import chunks


def children(connection: Connection, image_id: int, limit: int) -> list[tuple[str, str]]:
    """The images built directly on this one, by name, each with the state of its last rebuild, or none."""
    key = Image.name + ":" + Image.stream
    on_it = select(ImageParent.image_id).where(ImageParent.parent_id == image_id)
    query = (
        select(key, Rebuild.state)
        .outerjoin(Rebuild, and_(Rebuild.image_id == Image.id, ~Rebuild.superseded))
        .where(Image.id.in_(on_it), Image.present)
        .order_by(key)
        .limit(limit)
    )
    return [(found, state or "") for found, state in connection.execute(query)]


def states(connection: Connection, keys: Collection[str]) -> dict[str, str]:
    """The state of the last rebuild of those of these images that ever had one."""
    found = {}
    for part in chunks(sorted(keys), 500):
        names = {key.rpartition(":")[0] for key in part}
        query = select(Image.name + ":" + Image.stream, Rebuild.state).join(Rebuild, Rebuild.image_id == Image.id)
        rows = connection.execute(query.where(~Rebuild.superseded, Image.name.in_(names)))
        found.update({key: state for key, state in rows if key in part})
    return found


def is_present(connection: Connection, image_id: int) -> bool:
    """Whether the image is in the inventory, and did not leave it."""
    return bool(connection.scalar(select(Image.present).where(Image.id == image_id)))
