"""Whether a fix is everywhere: what each image that carries a package has of it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, or_, select

from rebuilder.domain.change import Change as ChangeValue
from rebuilder.domain.rpm import Rpm as Package
from rebuilder.domain.rpm import SourceBuild
from rebuilder.store import changes
from rebuilder.store.manifests import FIELDS
from rebuilder.store.models import Change, Image, ImageBuild, ManifestRpm, Rpm


@dataclass(frozen=True, slots=True)
class Carrier:
    """An image whose current build carries RPMs of a package."""

    image: str
    rpms: tuple[Package, ...]


def changes_named(connection: Connection, name: str) -> list[ChangeValue]:
    """The changes of an update (its alias), or of a source build (its NVR), in every stream; oldest first."""
    rows = list(connection.scalars(select(Change.id).where(Change.update == name).order_by(Change.id)))
    if not rows and (build := _source_build(name)) is not None:
        same = Change.source == build.name, Change.version_release == build.evr.version_release
        rows = list(connection.scalars(select(Change.id).where(*same).order_by(Change.id)))
    told = changes.of_ids(connection, rows)
    return [told[ident].change for ident in rows]


def _source_build(name: str) -> SourceBuild | None:
    try:
        return SourceBuild.parse(name)
    except ValueError:
        return None


def carriers(connection: Connection, source: str, stream: str) -> list[Carrier]:
    """The images of the stream whose current build carries RPMs of the source package, by name."""
    rows = connection.execute(
        select(Image.name, *FIELDS)
        .join(ImageBuild, ImageBuild.id == Image.current_build_id)
        .join(ManifestRpm, ManifestRpm.manifest_id == ImageBuild.manifest_id)
        .join(Rpm, Rpm.id == ManifestRpm.rpm_id)
        .where(Rpm.source == source, Image.stream == stream, Image.present)
        .order_by(Image.name)
    )
    found: dict[str, list[Package]] = {}
    for row in rows:
        found.setdefault(f"{row[0]}:{stream}", []).append(Package(*row[1:]))
    return [Carrier(image, tuple(rpms)) for image, rpms in found.items()]


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


def sources(connection: Connection) -> list[str]:
    """All source packages of which some image has RPMs, or had."""
    return list(connection.scalars(select(Rpm.source).distinct()))


def unreadable(connection: Connection, stream: str) -> list[str]:
    """The images of the stream of which nobody knows what is in them."""
    query = select(Image.name).outerjoin(ImageBuild, ImageBuild.id == Image.current_build_id)
    unknown = or_(Image.current_build_id.is_(None), ImageBuild.manifest_id.is_(None))
    names = connection.scalars(query.where(Image.present, Image.stream == stream, unknown).order_by(Image.name))
    return [f"{name}:{stream}" for name in names]
