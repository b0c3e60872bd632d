"""What was attached to builds in registries, and signed: remembered, so that it is done once."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, select, update

from rebuilder.store.models import ImageBuild


def of_builds(connection: Connection, build_ids: Collection[int]) -> dict[int, frozenset[str]]:
    """What these builds have, as `signature registry.example.com/team/app@sha256:…`."""
    query = select(ImageBuild.id, ImageBuild.endorsements).where(ImageBuild.id.in_(build_ids))
    return {ident: frozenset(endorsements) for ident, endorsements in connection.execute(query)}


def add(connection: Connection, build_id: int, new: Sequence[str]) -> None:
    """The build has these now, too."""
    before = of_builds(connection, [build_id]).get(build_id, frozenset())
    table = update(ImageBuild).where(ImageBuild.id == build_id)
    connection.execute(table.values(endorsements=sorted(before.union(new))))
