"""The RPMs in images' current builds, and the images whose content is unknown."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import CompoundSelect, Connection, Select, exists, func, select, union_all

from rebuilder.domain.impact import InstalledPackages
from rebuilder.domain.rpm import Rpm as Package
from rebuilder.store import externals as external_parents
from rebuilder.store import manifests
from rebuilder.store.inventory import MANY
from rebuilder.store.models import Image, ImageBuild, ManifestRpm, Rpm
from rebuilder.store.upsert import chunks


def carried(connection: Connection, sources: Iterable[str], keys: Collection[str] | None = None) -> InstalledPackages:
    """The RPMs from these source packages in the images' current builds, and the images that could not be read.

    Of all images, or of these few.
    """
    sources = sorted(set(sources))
    by_image: dict[str, list[Package]] = {}
    packages: dict[int, Package] = {}
    query = (
        select(Image.key, Rpm.id, *manifests.FIELDS)
        .select_from(Rpm)
        .join(ManifestRpm, ManifestRpm.rpm_id == Rpm.id)
        .join(ImageBuild, ImageBuild.manifest_id == ManifestRpm.manifest_id)
        .join(Image, Image.current_build_id == ImageBuild.id)
        .where(Image.present, Rpm.source.in_(sources))
        .order_by(Image.id, Rpm.id)
    )
    unread: Select[Any] | CompoundSelect[str] = _unread()
    if keys is not None:
        query = query.where(Image.maybe_named(keys))
        missing = select(Image.key).outerjoin(ImageBuild, ImageBuild.id == Image.current_build_id)
        unread = missing.where(Image.present, ImageBuild.manifest_id.is_(None), Image.maybe_named(keys))
    for row in connection.execute(query):
        if keys is not None and row[0] not in keys:
            continue
        package = packages.get(row[1])
        if package is None:
            package = packages[row[1]] = Package(*row[2:])
        by_image.setdefault(row[0], []).append(package)
    unknown = frozenset(connection.scalars(unread))
    return InstalledPackages(
        by_image, unknown if keys is None else unknown.intersection(keys), external_parents.known(connection, sources)
    )


def rpms_from(connection: Connection, sources: Iterable[str]) -> dict[int, Package]:
    """Every RPM from these source packages that is, or ever was, in some image, by its id."""
    rpms = {}
    for part in chunks(sorted(set(sources)), MANY):
        for row in connection.execute(select(Rpm.id, *manifests.FIELDS).where(Rpm.source.in_(part))):
            rpms[row[0]] = Package(*row[1:])
    return rpms


def in_use(connection: Connection, rpm_ids: Sequence[int]) -> set[int]:
    """Which of these RPMs are in some image's current build."""
    current = (
        exists()
        .where(ManifestRpm.rpm_id == Rpm.id, ImageBuild.manifest_id == ManifestRpm.manifest_id)
        .where(Image.current_build_id == ImageBuild.id, Image.present)
    )
    used: set[int] = set()
    for part in chunks(rpm_ids, MANY):
        used.update(connection.scalars(select(Rpm.id).where(Rpm.id.in_(part), current)))
    return used


def rpms_in(connection: Connection, stream: str) -> list[Package]:
    """Every RPM, once, that is in the current build of some image of the stream."""
    current = (
        exists()
        .where(ManifestRpm.rpm_id == Rpm.id, ImageBuild.manifest_id == ManifestRpm.manifest_id)
        .where(Image.current_build_id == ImageBuild.id, Image.present, Image.stream == stream)
    )
    return [Package(*row) for row in connection.execute(select(*manifests.FIELDS).where(current))]


def unread(connection: Connection) -> set[str]:
    """The images that have no current build, or one whose manifest could not be read."""
    return set(connection.scalars(_unread()))


def _unread() -> CompoundSelect[str]:
    """The images with no current build, and those with one whose manifest could not be read.

    Two questions, because there is an index for either, and none for both.
    """
    images = select(Image.key).where(Image.present)
    unread = images.join(ImageBuild, ImageBuild.id == Image.current_build_id).where(ImageBuild.manifest_id.is_(None))
    return union_all(images.where(Image.current_build_id.is_(None)), unread)


def sources_of(connection: Connection, name: str) -> set[str]:
    """The source packages of the RPMs of this name; the name itself where some RPM is made from a package of it.

    Only what is in an image's current build counts.
    """
    current = (
        exists()
        .where(ManifestRpm.rpm_id == Rpm.id, ImageBuild.manifest_id == ManifestRpm.manifest_id)
        .where(Image.current_build_id == ImageBuild.id, Image.present)
    )
    is_source = connection.scalar(select(Rpm.id).where(Rpm.source == name, current).limit(1)) is not None
    return {name} if is_source else set(connection.scalars(select(Rpm.source).where(Rpm.name == name, current)))


def _installed(key: str, source: str) -> Select[Any]:
    return (
        select(Rpm.id)
        .join(ManifestRpm, ManifestRpm.rpm_id == Rpm.id)
        .join(ImageBuild, ImageBuild.manifest_id == ManifestRpm.manifest_id)
        .join(Image, Image.current_build_id == ImageBuild.id)
        .where(Image.named(key), Rpm.source == source)
    )


def since(connection: Connection, key: str, source: str) -> float | None:
    """When the image's first build with its present RPMs of this source package was recorded."""
    query = (
        select(func.min(ImageBuild.recorded_at))
        .join(Image, Image.id == ImageBuild.image_id)
        .join(ManifestRpm, ManifestRpm.manifest_id == ImageBuild.manifest_id)
        .where(Image.named(key), ManifestRpm.rpm_id.in_(_installed(key, source)))
    )
    recorded_at: float | None = connection.scalar(query)
    return recorded_at
