"""What a builder is asked to build, as the database has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection

from rebuilder.domain.build import BuildRequest
from rebuilder.domain.change import Severity
from rebuilder.domain.image import Image, PinnedParent
from rebuilder.domain.lifecycle import RebuildRecord
from rebuilder.store import causes, inventory, pins


def requests_of(connection: Connection, entries: Sequence[RebuildRecord]) -> dict[int, BuildRequest]:
    """What is to be built, on the parents' current builds and the external parents that the wave stands on."""
    if not entries:
        return {}
    images = inventory.find(connection, [entry.image for entry in entries])
    builds = inventory.current_builds(connection, images.keys() | _parents_of(images.values()))
    changes = causes.changes_of(connection, [entry.id for entry in entries])
    pinned = pins.of_waves(connection, {entry.wave_id for entry in entries if images[entry.image].externals})
    requests = {}
    for entry in entries:
        image = images[entry.image]
        requests[entry.id] = BuildRequest(
            entry.key,
            image,
            tuple(builds[parent.image] for parent in image.parents if parent.image in builds),
            changes.get(entry.id, ()),
            builds.get(entry.image),
            Severity(entry.severity),
            externals=_pinned(image, pinned.get(entry.wave_id, {})),
            wave=entry.wave_id,
        )
    return requests


def _parents_of(images: Iterable[Image]) -> set[str]:
    return {parent.image for image in images for parent in image.parents if parent.image}


def _pinned(image: Image, pinned: Mapping[str, PinnedParent]) -> tuple[PinnedParent, ...]:
    return tuple(pinned[spec] for spec in image.externals if spec in pinned)
