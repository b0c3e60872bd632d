"""When what is open will be done."""

from __future__ import annotations

from sqlalchemy import Connection

from rebuilder.config import Settings
from rebuilder.domain.forecast import Remaining, ends
from rebuilder.domain.image import Image
from rebuilder.domain.lifecycle import LIVE
from rebuilder.domain.schedule import durations
from rebuilder.store import progress


def expected(connection: Connection, settings: Settings, now: float) -> dict[int, float]:
    """When each open rebuild is expected to end, by its id; all of them share the slots."""
    found = ends(_remaining(connection, now), settings.slots)
    return {ident: now + seconds for ident, seconds in found.items()}


def _remaining(connection: Connection, now: float) -> list[Remaining]:
    entries = progress.all_open(connection)
    images = [Image(entry.name, entry.stream, estimate=entry.estimate) for entry in entries]
    measured = {
        image.key: entry.measured for image, entry in zip(images, entries, strict=True) if entry.measured is not None
    }
    seconds = durations(images, measured)
    after = progress.open_parents(connection)
    builds = []
    for rank, (image, entry) in enumerate(zip(images, entries, strict=True)):
        live = entry.state in LIVE
        spent = now - entry.started_at if live and entry.started_at is not None else 0.0
        left = max(seconds[image.key] - spent, 0.0)
        builds.append(Remaining(entry.id, tuple(after.get(entry.id, ())), left, rank, live))
    return builds
