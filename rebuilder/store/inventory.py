"""Images, their parents and their current builds, as planning and operators ask for them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec
from msgspec.structs import replace
from sqlalchemy import ColumnElement, Connection, Text, bindparam, cast, exists, func, select

from rebuilder.domain.graph import Graph
from rebuilder.domain.image import Care, Parent, ParentKind, PinnedParent, Source
from rebuilder.domain.image import Image as ImageValue
from rebuilder.domain.image import ImageBuild as BuildValue
from rebuilder.domain.image import Stream as StreamValue
from rebuilder.domain.image_name import ImageName
from rebuilder.domain.rollback import RolledBack, rolled_back
from rebuilder.store import manifests, rollbacks
from rebuilder.store.models import Image, ImageBuild, ImageParent, Rebuild, Stream, aliased
from rebuilder.store.upsert import numbers

MANY = 500  # images: reading all there are is then as quick as naming them
_SOURCE = msgspec.json.Decoder(Source)  # far quicker than the column's own way: JSON into a dict, that into a source
_CURRENT = (
    select(ImageBuild.__table__)
    .join(Image, Image.current_build_id == ImageBuild.id)
    .where(Image.name == bindparam("image"), Image.stream == bindparam("of"))
)


def load(connection: Connection) -> Graph:
    """The graph of all images that are in the inventory."""
    return Graph(_images(connection))


def subgraph(connection: Connection, keys: Collection[str]) -> Graph:
    """The graph of these images alone: parents outside the inventory are in it, parents that are not asked for not."""
    if len(keys) > MANY:
        return Graph(_within(image for image in _images(connection) if image.key in keys))
    return Graph(_within(find(connection, keys).values()))


def _within(images: Iterable[ImageValue]) -> list[ImageValue]:
    by_key = {image.key: image for image in images}
    return [
        image
        if all(parent.external or parent.image in by_key for parent in image.parents)
        else replace(image, parents=tuple(p for p in image.parents if p.external or p.image in by_key))
        for image in by_key.values()
    ]


def count(connection: Connection) -> int:
    """How many images there are in the inventory."""
    return connection.scalar(select(func.count()).select_from(Image).where(Image.present)) or 0


def find(connection: Connection, keys: Iterable[str]) -> dict[str, ImageValue]:
    """These images, by name; those that are not in the inventory any more included."""
    keys = set(keys)
    return {image.key: image for image in _images(connection, Image.maybe_named(keys)) if image.key in keys}


def source_versions(connection: Connection, image_ids: Sequence[int]) -> dict[int, str]:
    """The version of each of these images' sources, by the image's id; empty where it is unknown."""
    query = select(Image.id, cast(Image.source, Text)).where(Image.id.in_(image_ids))
    return {ident: _SOURCE.decode(source).version for ident, source in connection.execute(query)}


def cares(connection: Connection, image_ids: Sequence[int]) -> dict[int, Care]:
    """What is said of each of these images for those who look after it, by the image's id."""
    query = select(Image.id, cast(Image.source, Text)).where(Image.id.in_(image_ids))
    return {ident: _SOURCE.decode(source).care for ident, source in connection.execute(query)}


def _images(connection: Connection, condition: ColumnElement[bool] | None = None) -> list[ImageValue]:
    columns = Image.id, Image.name, Image.stream, cast(Image.source, Text), Image.estimate, Image.pull_spec
    query = select(*columns).where(Image.present if condition is None else condition)
    rows = connection.execute(query.order_by(Image.id)).all()
    parents = _parents(connection, None if condition is None else [row.id for row in rows])
    return [
        ImageValue(name, stream, tuple(parents.get(ident, ())), _SOURCE.decode(source), estimate, pull_spec)
        for ident, name, stream, source, estimate, pull_spec in rows
    ]


def _parents(connection: Connection, image_ids: list[int] | None) -> dict[int, list[Parent]]:
    """The parents of these images, or of all, in their order."""
    above = aliased(Image)
    query = (
        select(ImageParent.image_id, ImageParent.kind, ImageParent.external, above.key)
        .outerjoin(above, above.id == ImageParent.parent_id)
        .order_by(ImageParent.image_id, ImageParent.position)
    )
    given = {}
    if image_ids is not None:
        query, given = query.where(ImageParent.image_id.in_(numbers("these"))), {"these": image_ids}
    parents: dict[int, list[Parent]] = {}
    for image_id, kind, external, key in connection.execute(query, given).all():
        parent = Parent(ParentKind(kind), key or "", external)
        parents.setdefault(image_id, []).append(parent)
    return parents


def family_above(connection: Connection, image: str) -> set[str]:
    """The image and all that it is built on, directly or not."""
    above = select(Image.id).where(Image.named(image)).cte("above", recursive=True)
    parents = select(ImageParent.parent_id).join(above, ImageParent.image_id == above.c.id)
    above = above.union(parents.where(ImageParent.parent_id.is_not(None)))
    query = select(Image.key).join(above, above.c.id == Image.id).where(Image.present)
    return set(connection.scalars(query))


def children(connection: Connection, image_id: int) -> tuple[str, ...]:
    """The images that are built directly on this one, by name."""
    built_on_it = exists().where(ImageParent.image_id == Image.id, ImageParent.parent_id == image_id)
    query = select(Image.key).where(built_on_it, Image.present)
    return tuple(connection.scalars(query.order_by(Image.name, Image.stream)))


def streams(connection: Connection) -> tuple[StreamValue, ...]:
    """Every stream that an image is in, with its dist tags where they are known."""
    dists = {row.name: tuple(row.dist.split()) for row in connection.execute(select(Stream.name, Stream.dist))}
    used = connection.scalars(select(Image.stream).where(Image.present).distinct().order_by(Image.stream))
    return tuple(StreamValue(name, dists.get(name, ())) for name in used)


def ids(connection: Connection) -> dict[str, int]:
    """The id of every image ever known, by name:stream."""
    return dict(connection.execute(select(Image.key, Image.id)).tuples().all())


def unbuilt(connection: Connection) -> set[str]:
    """The images that have no build yet."""
    query = select(Image.key).where(Image.present, Image.current_build_id.is_(None))
    return set(connection.scalars(query))


def current_builds(connection: Connection, keys: Iterable[str] | None = None) -> dict[str, BuildValue]:
    """The current builds, without their manifests, of these images or of all."""
    query = (
        select(
            Image.key, ImageBuild.ident, ImageBuild.parents, ImageBuild.digest, ImageBuild.tags,
            ImageBuild.externals,
        )
        .join(ImageBuild, ImageBuild.id == Image.current_build_id)
        .where(Image.present)
    )
    keys = None if keys is None else set(keys)
    if keys is not None and len(keys) <= MANY:
        query = query.where(Image.maybe_named(keys))
    builds = {}
    for key, ident, parents, digest, tags, externals in connection.execute(query):
        if keys is None or key in keys:
            pins = pinned_parents(externals)
            builds[key] = BuildValue(key, ident, None, tuple(parents), digest, tuple(tags), externals=pins)
    return builds


def proven(connection: Connection) -> dict[str, float]:
    """When each current build was recorded that a rebuild made, in seconds since the epoch, by image."""
    made = exists().where(Rebuild.image_id == Image.id, Rebuild.build_id == ImageBuild.id)
    query = select(Image.key, ImageBuild.recorded_at)
    query = query.join(ImageBuild, ImageBuild.id == Image.current_build_id).where(Image.present, made)
    return dict(connection.execute(query).tuples().all())


def stands_on_rolled_back(connection: Connection, key: str, *, by_nvr: bool) -> RolledBack | None:
    """The parent's build that this image stands on, where that was taken back; `by_nvr` as in rolled_back."""
    gone = rollbacks.taken_back(connection)
    if not (gone or by_nvr):
        return None
    image = subgraph(connection, family_above(connection, key)).image(key)
    parents = [parent.image for parent in image.parents if parent.image]
    builds = current_builds(connection, [key, *parents])
    return next(iter(rolled_back([image], builds, gone, by_nvr=by_nvr)), None)


def current_build_id(connection: Connection, image_id: int) -> int | None:
    """The id of an image's current build: mostly the last one, but where a later one is untested, or was taken back."""
    return connection.scalar(select(Image.current_build_id).where(Image.id == image_id))


def last_digests(connection: Connection, each: int) -> dict[str, list[str]]:
    """The digests of the last builds of each image, so many of each, newest first; what has no digest is left out."""
    place = func.row_number().over(partition_by=ImageBuild.image_id, order_by=ImageBuild.id.desc())
    ranked = select(ImageBuild.image_id, ImageBuild.digest, place.label("place"))
    last = ranked.where(ImageBuild.digest != "").subquery()
    query = select(Image.key, last.c.digest).join(last, last.c.image_id == Image.id)
    digests: dict[str, list[str]] = {}
    for key, digest in connection.execute(query.where(Image.present, last.c.place <= each).order_by(last.c.place)):
        digests.setdefault(key, []).append(digest)
    return digests


def manifest_of(connection: Connection, key: str) -> BuildValue | None:
    """The current build of an image with its manifest, where there is one."""
    name, stream = ImageName.of(key)
    row = connection.execute(_CURRENT, {"image": name, "of": stream}).one_or_none()
    if row is None:
        return None
    content = manifests.read(connection, [row.manifest_id])[row.manifest_id] if row.manifest_id else None
    pins = pinned_parents(row.externals)
    return BuildValue(key, row.ident, content, tuple(row.parents), row.digest, tuple(row.tags), externals=pins)


def pinned_parents(externals: Mapping[str, str]) -> tuple[PinnedParent, ...]:
    """The external parents of a build, as the table has them."""
    return tuple(PinnedParent(spec, at) for spec, at in externals.items())
