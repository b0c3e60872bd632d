"""What is in a build, for its bill of materials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select

from rebuilder.sbom.contents import Contents
from rebuilder.store import manifests
from rebuilder.store.models import Image, ImageBuild

_BUILD = select(
    Image.key, ImageBuild.ident, ImageBuild.digest, ImageBuild.manifest_id, ImageBuild.recorded_at
)


def of_build(connection: Connection, build_id: int) -> Contents | None:
    """The contents of a build; None where they are unknown."""
    query = _BUILD.join(ImageBuild, ImageBuild.image_id == Image.id).where(ImageBuild.id == build_id)
    return _read(connection, connection.execute(query).one_or_none())


def current(connection: Connection, image: str) -> Contents | None:
    """The contents of the image's current build; None where it has none, or they are unknown."""
    query = _BUILD.join(ImageBuild, ImageBuild.id == Image.current_build_id)
    return _read(connection, connection.execute(query.where(Image.named(image))).one_or_none())


def _read(connection: Connection, row: Sequence[Any] | None) -> Contents | None:
    if row is None or row[3] is None:
        return None
    manifest = manifests.read(connection, [row[3]])[row[3]]
    return Contents(row[0], row[1], row[2], manifest, row[4])
