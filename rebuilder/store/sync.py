"""Keeps images, their parents and their builds in step with the inventory's source."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from msgspec import Struct, to_builtins
from sqlalchemy import Connection, bindparam, delete, insert, select, update

from rebuilder.domain.graph import Graph
from rebuilder.domain.image import Fault, Inventory
from rebuilder.domain.image import Image as ImageValue
from rebuilder.domain.image import ImageBuild as BuildValue
from rebuilder.domain.image import Stream as StreamValue
from rebuilder.store import installed_packages, manifests, rollbacks
from rebuilder.store import inventory as stored
from rebuilder.store.models import Image, ImageBuild, ImageParent, Stream
from rebuilder.store.upsert import chunks, refresh_statistics

# Made once: every build that ends asks for them.
_RECORDED = select(ImageBuild.image_id, ImageBuild.ident, ImageBuild.id).where(
    ImageBuild.image_id.in_(bindparam("images", expanding=True)),
    ImageBuild.ident.in_(bindparam("idents", expanding=True)),
)
_NEW = insert(ImageBuild).returning(ImageBuild.image_id, ImageBuild.id)
_READ = (
    update(ImageBuild)
    .where(ImageBuild.id == bindparam("build"), ImageBuild.manifest_id.is_(None))
    .values(manifest_id=bindparam("content"))
)


class SyncResult(Struct, frozen=True):
    """What a sync changed, by image name; `faults` has what could not be read and stays as it was.

    `overruled` has the images whose build in the store is newer knowledge than what the source says of them.
    """

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    rebuilt: tuple[str, ...]
    unchanged: int
    faults: tuple[Fault, ...] = ()
    hints: tuple[str, ...] = ()
    overruled: tuple[str, ...] = ()


def save_inventory(connection: Connection, inventory: Inventory, now: float) -> SyncResult:
    """Make the store say what the source says. The caller's transaction makes it all or nothing.

    Raises RequestError for an inventory that makes no graph.
    """
    Graph(inventory.images)
    before = {image.key: image for image in stored.load(connection).images}
    _save_streams(connection, inventory.streams)
    images = {image.key: image for image in inventory.images}
    added, changed, removed = _compare(before, images)
    image_ids = _insert_unknown(connection, [images[key] for key in added])
    # Those that were just inserted are as they should be: to write them again changes nothing.
    _change(connection, {image_ids[key]: _columns(images[key]) for key in [*added, *changed]})
    _change(connection, {image_ids[key]: {"present": False} for key in removed})
    _save_parents(connection, [images[key] for key in [*added, *changed]], image_ids)
    rebuilt = _save_builds(connection, inventory.builds, image_ids, now)
    unchanged = len(images) - len({*added, *changed, *rebuilt})
    of_known = tuple(key for key in rebuilt if key in before)
    return SyncResult(added, changed, removed, of_known, unchanged, inventory.faults, inventory.hints)


def _compare(
    before: Mapping[str, ImageValue], after: Mapping[str, ImageValue]
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """The images that are new, those that are not as before, and those that are gone."""
    added = tuple(key for key in after if key not in before)
    changed = tuple(key for key, image in after.items() if key in before and before[key] != image)
    removed = tuple(key for key in before if key not in after)
    return added, changed, removed


def _insert_unknown(connection: Connection, images: Iterable[ImageValue]) -> dict[str, int]:
    """Insert those of the images that the store never had; the ids of all that it has."""
    image_ids = stored.ids(connection)
    unknown = [_columns(image) for image in images if image.key not in image_ids]
    if unknown:
        connection.execute(insert(Image), unknown)
        image_ids = stored.ids(connection)
    return image_ids


def _change(connection: Connection, rows: Mapping[int, Mapping[str, Any]]) -> None:
    """Set the same columns of each of these images."""
    if rows:
        columns = tuple(next(iter(rows.values())))
        connection.execute(_changing(columns), [{"ident": ident, **values} for ident, values in rows.items()])


@cache
def _changing(columns: tuple[str, ...]) -> Any:
    """Made once: every build that ends asks for it."""
    return update(Image).where(Image.id == bindparam("ident")).values({name: bindparam(name) for name in columns})


def _columns(image: ImageValue) -> dict[str, object]:
    source = to_builtins(image.source)
    return {
        "name": image.name,
        "stream": image.stream,
        "source": source,
        "pull_spec": image.pull_spec,
        "estimate": image.estimate,
        "present": True,
    }


def _save_streams(connection: Connection, streams: Iterable[StreamValue]) -> None:
    connection.execute(delete(Stream))
    rows = [{"name": stream.name, "dist": " ".join(stream.dist)} for stream in streams]
    if rows:
        connection.execute(insert(Stream), rows)


def _save_parents(connection: Connection, images: list[ImageValue], image_ids: Mapping[str, int]) -> None:
    for part in chunks([image_ids[image.key] for image in images], 500):
        connection.execute(delete(ImageParent).where(ImageParent.image_id.in_(part)))
    rows = [
        {
            "image_id": image_ids[image.key],
            "position": position,
            "kind": str(parent.kind),
            "parent_id": image_ids[parent.image] if parent.image else None,
            "external": parent.external,
        }
        for image in images
        for position, parent in enumerate(image.parents)
    ]
    if rows:
        connection.execute(insert(ImageParent), rows)


def _save_builds(
    connection: Connection, builds: Iterable[BuildValue], image_ids: Mapping[str, int], now: float
) -> list[str]:
    """Record the builds that are not current yet, or could not be read before; the names of their images."""
    current, unread = stored.current_builds(connection), installed_packages.unread(connection)
    bad = rollbacks.taken_back(connection)
    new = [
        build for build in builds
        if build.ident not in bad.get(build.image, ())  # a source may go on naming what an operator took back
        and _is_news(build, current.get(build.image), build.image in unread)
    ]  # fmt: skip
    # All at once: the RPMs of one part are mostly those of the next.
    manifests.intern(connection, (build.manifest for build in new if build.manifest is not None))
    for part in chunks(new, stored.MANY):
        record_builds(connection, part, image_ids, now)
    if len(new) > stored.MANY:
        refresh_statistics(connection)
    return [build.image for build in new]


def _is_news(build: BuildValue, current: BuildValue | None, unread: bool) -> bool:
    if current is None or current.ident != build.ident:
        return True
    return unread and build.manifest is not None


def record_builds(
    connection: Connection, builds: Iterable[BuildValue], image_ids: Mapping[str, int], now: float,
    unproven: Collection[str] = (),
) -> dict[str, int]:
    """Record these builds, at most one an image; the id of each by its image.

    Each becomes its image's current one, but for those of the `unproven` images, which keep theirs.
    """
    builds = list(builds)
    manifest_ids = _manifest_ids(connection, builds)
    recorded = _ids_of(connection, builds, image_ids)
    both = sorted(recorded.keys() & manifest_ids)
    read = [{"build": recorded[image], "content": manifest_ids[image]} for image in both]
    if read:
        connection.execute(_READ, read)
    rows = {
        build.image: _build_row(build, image_ids[build.image], manifest_ids.get(build.image), now)
        for build in builds
        if build.image not in recorded
    }
    if rows:
        made = {row.image_id: row.id for row in connection.execute(_NEW, list(rows.values()))}
        recorded |= {image: made[image_ids[image]] for image in rows}
    current = {image_ids[image]: recorded[image] for image in sorted(recorded.keys() - set(unproven))}
    make_current(connection, current)
    return recorded


def make_current(connection: Connection, builds: Mapping[int, int]) -> None:
    """These builds, by the ids of their images, are their images' current ones from now on."""
    _change(connection, {image_id: {"current_build_id": build_id} for image_id, build_id in builds.items()})


def _manifest_ids(connection: Connection, builds: Sequence[BuildValue]) -> dict[str, int]:
    """The ids of the builds' manifests, by their images: of those whose manifest is known."""
    contents = {build.image: build.manifest for build in builds if build.manifest is not None}
    interned = manifests.intern(connection, contents.values())
    return {image: interned[manifest.digest] for image, manifest in contents.items()}


def _build_row(build: BuildValue, image_id: int, manifest_id: int | None, now: float) -> dict[str, object]:
    return {
        "image_id": image_id,
        "ident": build.ident,
        "digest": build.digest,
        "parents": list(build.parents),
        "tags": list(build.tags),
        "externals": {parent.spec: parent.at for parent in build.externals},
        "manifest_id": manifest_id,
        "recorded_at": now,
    }


def _ids_of(connection: Connection, builds: Sequence[BuildValue], image_ids: Mapping[str, int]) -> dict[str, int]:
    """The ids of those of these builds that are recorded, by their images."""
    by_image = {image_ids[build.image]: build for build in builds}
    values = {"images": list(by_image), "idents": list({build.ident for build in builds})}
    return {
        by_image[image_id].image: build_id
        for image_id, ident, build_id in connection.execute(_RECORDED, values)
        if by_image[image_id].ident == ident
    }
