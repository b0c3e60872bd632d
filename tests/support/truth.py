"""What the images lack by the plain meaning of the words, found the slow way: what every answer is held against."""

from __future__ import annotations

from collections.abc import Mapping

from rpm_version import evr_compare
from sqlalchemy import Connection, select

from rebuilder.store.models import Change, Image, ImageBuild, ManifestRpm, Rpm


def lacking(connection: Connection) -> Mapping[str, set[str]]:
    """For each image of which anything is older than what its stream offers: the source builds that it lacks."""
    carried = connection.execute(
        select(Image.name, Image.stream, Rpm.source, Rpm.epoch, Rpm.version, Rpm.release)
        .join(ImageBuild, ImageBuild.id == Image.current_build_id)
        .join(ManifestRpm, ManifestRpm.manifest_id == ImageBuild.manifest_id)
        .join(Rpm, Rpm.id == ManifestRpm.rpm_id)
        .where(Image.present)
    ).all()
    offered = connection.execute(select(Change.__table__).where(Change.withdrawn_at.is_(None))).all()
    found: dict[str, set[str]] = {}
    for name, stream, source, epoch, version, release in carried:
        for change in offered:
            if (change.source, change.stream) != (source, stream):
                continue
            wanted = epoch if change.epoch is None else change.epoch
            if evr_compare(f"{wanted}:{change.version_release}", f"{epoch}:{version}-{release}") > 0:
                found.setdefault(f"{name}:{stream}", set()).add(f"{change.source}-{change.version_release}")
    return found


def unread(connection: Connection) -> set[str]:
    """The images of which nobody knows what is in them."""
    rows = connection.execute(
        select(Image.name, Image.stream, ImageBuild.manifest_id)
        .outerjoin(ImageBuild, ImageBuild.id == Image.current_build_id)
        .where(Image.present)
    )
    return {f"{name}:{stream}" for name, stream, manifest in rows if manifest is None}
