"""From waiting to the queue, and from the queue to a committed intent: what is built next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sqlalchemy import Connection

from rebuilder.config import Settings
from rebuilder.domain.lifecycle import LIVE, CausesGone, Dispatched, Event, ParentsDone
from rebuilder.engine import results
from rebuilder.store import causes, holds, inventory, rebuilds
from rebuilder.store.rebuilds import Entry
from rebuilder.store.rows import chunks
from rebuilder.store.transitions import Transitions


def release(transitions: Transitions) -> int:
    """Queue what no longer waits for a parent; drop what has lost its cause meanwhile. How many there were."""
    connection = transitions.connection
    entries = rebuilds.released(connection)
    for part in chunks(entries, 500):
        ids = [entry.id for entry in part]
        gone = dict.fromkeys(rebuilds.without_cause(connection, ids), "its parents came out unchanged")
        gone.update(dict.fromkeys(_current(connection, ids), "it became current by another build"))
        transitions.apply([
            (entry, CausesGone(gone[entry.id]) if entry.id in gone else ParentsDone()) for entry in part
        ])  # fmt: skip
    return len(entries)


def _current(connection: Connection, ids: list[int]) -> list[int]:
    """Those whose image got another build since they were planned, which has all that they are for."""
    overtaken = rebuilds.overtaken(connection, ids)
    reasons = causes.reasons_of(connection, [entry.id for entry in overtaken])
    found = []
    for entry in overtaken:
        build = inventory.manifest_of(connection, entry.image)
        if build is not None and build.manifest is not None and not results.not_updated(build, reasons[entry.id]):
            found.append(entry.id)
    return found


def reserve_slots(transitions: Transitions, settings: Settings) -> int:
    """Commit to as many builds as there are free slots, in all and in each stream; how many."""
    connection = transitions.connection
    if holds.paused(connection) is not None:
        return 0
    live = Counter(_stream_of(entry) for entry in rebuilds.in_states(connection, LIVE))
    limits = {name: stream.max_builds for name, stream in settings.streams.items() if stream.max_builds is not None}
    begun = live.total()
    while (free := settings.slots - live.total()) > 0:
        full = [name for name, limit in limits.items() if live[name] >= limit]
        entries = rebuilds.startable(connection, transitions.now, free, full)
        if not entries:
            break
        transitions.apply(_chosen(entries, live, limits, settings.slots))
    return live.total() - begun


def _chosen(
    entries: Sequence[Entry], live: Counter[str], limits: dict[str, int], slots: int
) -> list[tuple[Entry, Event]]:
    """Those that their streams have a slot for, which is taken."""
    chosen: list[tuple[Entry, Event]] = []
    for entry in entries:
        stream = _stream_of(entry)
        if live[stream] < limits.get(stream, slots):
            chosen.append((entry, Dispatched(key=_key(entry))))
            live[stream] += 1
    return chosen


def _key(entry: Entry) -> str:
    """A build that the builder had is over, and the next has a key of its own; one that never arrived keeps its key."""
    anew = entry.ref or not entry.attempt
    return rebuilds.key_of_attempt(entry.key, entry.attempt + 1) if anew else entry.key


def _stream_of(entry: Entry) -> str:
    return entry.image.rpartition(":")[2]
