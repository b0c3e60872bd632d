"""When what is open will be done."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from rebuilder.config import Settings
from rebuilder.domain.forecast import Remaining, ends
from rebuilder.domain.lifecycle import LIVE, OPEN
from rebuilder.domain.schedule import durations
from rebuilder.store import inventory, progress, rebuilds
from rebuilder.store.rebuilds import Entry


def expected(connection: Connection, settings: Settings, now: float) -> dict[int, float]:
    """When each open rebuild is expected to end, by its id; all of them share the slots."""
    entries = rebuilds.in_states(connection, OPEN)
    if not entries:
        return {}
    found = ends(_remaining(connection, entries, now), settings.slots)
    return {ident: now + seconds for ident, seconds in found.items()}


def _remaining(connection: Connection, entries: Sequence[Entry], now: float) -> list[Remaining]:
    keys = {entry.image for entry in entries}
    seconds = durations(inventory.find(connection, keys).values(), inventory.measured(connection, keys))
    after = progress.open_parents(connection)
    builds = []
    for rank, entry in enumerate(entries):
        live = entry.state in LIVE
        spent = now - entry.started_at if live and entry.started_at is not None else 0.0
        left = max(seconds[entry.image] - spent, 0.0)
        builds.append(Remaining(entry.id, tuple(after.get(entry.id, ())), left, rank, live))
    return builds
