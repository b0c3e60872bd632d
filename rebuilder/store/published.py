"""The build of each image that others can pull: the one that its floating tags point to."""

from __future__ import annotations

from msgspec import Struct
from sqlalchemy import Connection, case, exists, func, select

from rebuilder.store import filters
from rebuilder.store.filters import Filter
from rebuilder.store.models import Delivery, Image, ImageBuild, ManifestRpm, Rpm


class Published(Struct, frozen=True):
    """An image (name:stream) and the build of it that is delivered; `build` is "" where none is.

    `current` says whether that is the image's current build; `since` is when it was pushed, None where its builder
    pushed it.
    """

    image: str
    build: str
    build_id: int | None
    digest: str
    tags: tuple[str, ...]
    current: bool
    since: float | None


def read(connection: Connection, criteria: Filter, *, floating: bool) -> list[Published]:
    """The images of the inventory that are wanted, by name and stream.

    `floating` says that pushes have tags that move: what has only its fixed one is not delivered yet. Images of which
    nothing was ever pushed from here have the build that their builder made last.
    """
    remote = select(Delivery.image_id, func.max(Delivery.id).label("newest")).where(Delivery.remote)
    done = remote.where(Delivery.state == "done", *([Delivery.moves] if floating else []))
    ours, given = remote.group_by(Delivery.image_id).subquery(), done.group_by(Delivery.image_id).subquery()
    made_there = case((ours.c.newest.is_(None), Image.current_build_id))
    carried = exists().where(ManifestRpm.manifest_id == ImageBuild.manifest_id, ManifestRpm.rpm_id == Rpm.id)
    build_id = func.coalesce(Delivery.build_id, made_there)
    query = (
        select(
            Image.key, func.coalesce(ImageBuild.ident, ""), ImageBuild.id,
            func.coalesce(ImageBuild.digest, ""), ImageBuild.tags, Image.current_build_id, Delivery.done_at,
        )
        .outerjoin(ours, ours.c.image_id == Image.id)
        .outerjoin(given, given.c.image_id == Image.id)
        .outerjoin(Delivery, Delivery.id == given.c.newest)
        .outerjoin(ImageBuild, ImageBuild.id == build_id)
        .where(Image.present, *filters.images(criteria, connection.dialect.name))
        .where(*(carried.where(package) for package in filters.packages(criteria)))
        .order_by(Image.name, Image.stream)
    )  # fmt: skip
    return [
        Published(image, ident, number, digest, tuple(tags or ()), number is not None and number == current, since)
        for image, ident, number, digest, tags, current, since in connection.execute(query)
    ]
