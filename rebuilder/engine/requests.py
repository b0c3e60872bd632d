"""What a builder is asked to build, as the database has it."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from rebuilder.domain.build import BuildRequest
from rebuilder.domain.change import Severity
from rebuilder.store import causes, externals, inventory
from rebuilder.store.rebuilds import RebuildRecord


def requests_of(connection: Connection, entries: Sequence[RebuildRecord]) -> dict[int, BuildRequest]:
    """What is to be built: on the parents' current builds, and on external ones as registries had them last.

    That is what was planned on: a tag that moves meanwhile is a change of its own.
    """
    if not entries:
        return {}
    images = inventory.find(connection, [entry.image for entry in entries])
    parents = {parent.image for image in images.values() for parent in image.parents if parent.image}
    builds = inventory.current_builds(connection, parents | set(images))
    pins = externals.current(connection)
    changes = causes.changes_of(connection, [entry.id for entry in entries])
    return {
        entry.id: BuildRequest(
            entry.key,
            images[entry.image],
            tuple(builds[p.image] for p in images[entry.image].parents if p.image in builds),
            changes.get(entry.id, ()),
            builds.get(entry.image),
            Severity(entry.severity),
            externals=tuple(pins[p.external] for p in images[entry.image].parents if p.external in pins),
        )
        for entry in entries
    }
