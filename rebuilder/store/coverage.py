"""Whether a fix is everywhere: what each image that carries a package has of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from msgspec import Struct
from sqlalchemy import Connection, Row, func, or_, select

from rebuilder.domain.image_name import stream_of
from rebuilder.domain.rpm import Rpm as Package
from rebuilder.domain.rpm_streams import NONE, foreigners
from rebuilder.store import change_lookup, changes, installed_packages, inventory, manifests
from rebuilder.store.changes import StoredChange
from rebuilder.store.models import Image, ImageBuild, ImageParent, ManifestRpm, Rpm, aliased
from rebuilder.store.read_cache import cached


class Carriers(Struct, frozen=True):
    """Images whose current builds carry the same RPMs of a package."""

    rpms: tuple[Package, ...]
    images: tuple[str, ...]


def changes_named(connection: Connection, name: str) -> list[StoredChange]:
    """The changes of an update (its alias), of a CVE, or of a source build (its NVR), in every stream; oldest first."""
    ids = change_lookup.ids_meant(connection, name)
    by_id = changes.of_ids(connection, ids)
    return [by_id[ident] for ident in ids]


def crossed_streams(connection: Connection) -> set[tuple[str, str]]:
    """The streams of images and of their parents, where they differ."""
    return cached(connection, "crossed streams", lambda: _crossed_streams(connection))


def _crossed_streams(connection: Connection) -> set[tuple[str, str]]:
    above = aliased(Image)
    query = (
        select(Image.stream, above.stream)
        .join(ImageParent, ImageParent.image_id == Image.id)
        .join(above, above.id == ImageParent.parent_id)
        .where(Image.present, Image.stream != above.stream)
    )
    return {(child, parent) for child, parent in connection.execute(query.distinct())}


def carriers(connection: Connection, source: str, stream: str, crossed: Collection[tuple[str, str]]) -> list[Carriers]:
    """The images whose current build carries RPMs of the source package that are of the stream, by these RPMs.

    Most are images of the stream; `crossed` says where others, which are built on them, may be.
    """
    streams = _reached(stream, crossed)
    packages = installed_packages.rpms_from(connection, [source])
    having = manifests.carrying(connection, list(packages))
    groups: dict[tuple[int, ...], list[str]] = {}
    for image, manifest_id in _current(connection, streams):
        if manifest_id in having:
            groups.setdefault(having[manifest_id], []).append(image)
    all_carriers = [Carriers(tuple(map(packages.__getitem__, ids)), tuple(images)) for ids, images in groups.items()]
    return _of_stream(connection, all_carriers, stream) if len(streams) > 1 else all_carriers


def _current(connection: Connection, streams: Collection[str]) -> Sequence[Row[str, int | None]]:
    """The images of these streams, each with its current manifest."""
    query = select(Image.key, ImageBuild.manifest_id)
    query = query.join(ImageBuild, ImageBuild.id == Image.current_build_id)
    return connection.execute(query.where(Image.present, Image.stream.in_(streams))).all()


def _of_stream(connection: Connection, all_carriers: Sequence[Carriers], stream: str) -> list[Carriers]:
    """What of the RPMs is of that stream: images have RPMs of another where they are built on its images."""
    carried = {image: carriers.rpms for carriers in all_carriers for image in carriers.images}
    foreign = foreigners(inventory.subgraph(connection, carried), carried)
    groups: dict[tuple[Package, ...], list[str]] = {}
    for image, rpms in carried.items():
        others, own = foreign.get(image, NONE), stream_of(image)
        if mine := tuple(rpm for rpm in rpms if others.get(rpm, own) == stream):
            groups.setdefault(mine, []).append(image)
    return [Carriers(rpms, tuple(images)) for rpms, images in groups.items()]


def _reached(stream: str, crossed: Collection[tuple[str, str]]) -> set[str]:
    """The stream, those whose images are built on its images, and those that its own images are built on."""
    streams = {stream}
    while new := {other for pair in crossed if streams & set(pair) for other in pair} - streams:
        streams |= new
    return streams


def made_from(connection: Connection, rpm: str) -> dict[str, int]:
    """Of how many images' current builds the RPMs of this name are, by their source packages."""
    rows = connection.execute(
        select(Rpm.source, func.count(Image.id.distinct()))
        .join(ManifestRpm, ManifestRpm.rpm_id == Rpm.id)
        .join(ImageBuild, ImageBuild.manifest_id == ManifestRpm.manifest_id)
        .join(Image, Image.current_build_id == ImageBuild.id)
        .where(Rpm.name == rpm, Image.present)
        .group_by(Rpm.source)
        .order_by(Rpm.source)
    )
    return {row[0]: row[1] for row in rows}


def made_into(connection: Connection, source: str) -> int:
    """How many images' current builds have RPMs of the source package."""
    query = (
        select(func.count(Image.id.distinct()))
        .join(ImageBuild, Image.current_build_id == ImageBuild.id)
        .join(ManifestRpm, ManifestRpm.manifest_id == ImageBuild.manifest_id)
        .join(Rpm, Rpm.id == ManifestRpm.rpm_id)
    )
    return connection.scalar(query.where(Rpm.source == source, Image.present)) or 0


def sources(connection: Connection) -> list[str]:
    """All source packages of which some image has RPMs, or had."""
    return list(connection.scalars(select(Rpm.source).distinct()))


def rpm_names(connection: Connection) -> list[str]:
    """The names of all RPMs that some image has, or had."""
    return list(connection.scalars(select(Rpm.name).distinct()))


def unreadable(connection: Connection, stream: str) -> list[str]:
    """The images of the stream whose contents are unknown."""
    query = select(Image.key).outerjoin(ImageBuild, ImageBuild.id == Image.current_build_id)
    unknown = or_(Image.current_build_id.is_(None), ImageBuild.manifest_id.is_(None))
    return list(connection.scalars(query.where(Image.present, Image.stream == stream, unknown).order_by(Image.name)))
