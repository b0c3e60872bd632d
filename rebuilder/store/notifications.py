"""What messages tell of rebuilds and waves beside what happened: their parents, builds and images."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from sqlalchemy import Connection, func, select

from rebuilder.domain.change import Severity, most_severe
from rebuilder.domain.topics import LISTED
from rebuilder.store.models import Image, ImageBuild, Rebuild, RebuildEdge, aliased


class BuildInfo(Struct, frozen=True):
    """A finished build of an image; `parents` has the idents of the builds it was built on, `tags` its pull specs."""

    ident: str
    digest: str
    parents: tuple[str, ...]
    tags: tuple[str, ...]


class WaveSummary(Struct, frozen=True):
    """How many rebuilds a wave has, the first images of it, its highest severity, and who asked for any of them."""

    rebuilds: int
    images: tuple[str, ...]
    severity: Severity
    asked_by: tuple[str, ...]


def builds(connection: Connection, ids: Sequence[int]) -> dict[int, BuildInfo]:
    """These builds by their ids."""
    query = select(ImageBuild.id, ImageBuild.ident, ImageBuild.digest, ImageBuild.parents, ImageBuild.tags)
    rows = connection.execute(query.where(ImageBuild.id.in_(ids)))
    return {row.id: BuildInfo(row.ident, row.digest, tuple(row.parents), tuple(row.tags)) for row in rows}


def awaited(connection: Connection, rebuild_ids: Sequence[int]) -> dict[tuple[int, str], int]:
    """The rebuilds that these wait for, by the rebuild that waits and the image that is waited for."""
    parent = aliased(Rebuild)
    query = (
        select(RebuildEdge.rebuild_id, Image.key, RebuildEdge.parent_id)
        .join(parent, parent.id == RebuildEdge.parent_id)
        .join(Image, Image.id == parent.image_id)
        .where(RebuildEdge.rebuild_id.in_(rebuild_ids))
        .order_by(RebuildEdge.parent_id)
    )
    return {(rebuild_id, image): parent_id for rebuild_id, image, parent_id in connection.execute(query)}


def summary(connection: Connection, wave_id: int) -> WaveSummary:
    """What the wave rebuilds."""
    of_it = Rebuild.wave_id == wave_id
    counted = select(Rebuild.severity, func.count()).where(of_it).group_by(Rebuild.severity)
    severities = connection.execute(counted).all()
    names = (
        select(Image.key)
        .join(Rebuild, Rebuild.image_id == Image.id)
        .where(of_it)
        .order_by(Rebuild.level, Rebuild.id)
        .limit(LISTED)
    )
    users = select(Rebuild.asked_by).where(of_it, Rebuild.asked_by != "").distinct().order_by(Rebuild.asked_by)
    return WaveSummary(
        sum(count for _, count in severities),
        tuple(connection.scalars(names)),
        most_severe(tuple(Severity(severity) for severity, _ in severities)),
        tuple(connection.scalars(users.limit(LISTED - 1))),
    )
