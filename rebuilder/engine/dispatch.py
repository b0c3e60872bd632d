"""From waiting to the queue, and from the queue to a committed intent: what is built next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from msgspec import Struct
from sqlalchemy import Connection

from rebuilder.config import Settings
from rebuilder.domain.image_name import stream_of
from rebuilder.domain.lifecycle import CausesGone, Dispatched, ParentsDone, RebuildRecord, key_of_attempt
from rebuilder.engine import results
from rebuilder.store import (
    cancellations,
    causes,
    holds,
    inventory,
    pins,
    rebuild_dependencies,
    rebuilds,
    startable,
    unneeded_rebuilds,
)
from rebuilder.store.transitions import Transitions
from rebuilder.store.upsert import chunks


class Reserved(Struct, frozen=True):
    """A build that is committed to. No builder has ever heard of a key that is `new`."""

    key: str
    new: bool


def release(transitions: Transitions, settings: Settings) -> int:
    """Queue what no longer waits for a parent; drop what has lost its cause meanwhile. How many there were."""
    connection = transitions.connection
    entries = rebuild_dependencies.released(connection)
    for part in chunks(entries, 500):
        ids = [entry.id for entry in part]
        gone = dict.fromkeys(unneeded_rebuilds.without_cause(connection, ids), "its parents came out unchanged")
        gone.update(dict.fromkeys(_current(connection, ids, settings), "it became current by another build"))
        transitions.apply([
            (entry, CausesGone(gone[entry.id]) if entry.id in gone else ParentsDone()) for entry in part
        ])  # fmt: skip
    return len(entries)


def _current(connection: Connection, ids: list[int], settings: Settings) -> list[int]:
    """Those whose image got another build since they were planned, which has all that they are for."""
    superseded = unneeded_rebuilds.superseded_by_other_build(connection, ids)
    reasons = causes.reasons_of(connection, [entry.id for entry in superseded], standing=True)
    current = []
    for entry in superseded:
        build = inventory.manifest_of(connection, entry.image)
        has_manifest = build is not None and build.manifest is not None
        if build is None or not has_manifest:
            continue
        if not results.not_updated(build, reasons.get(entry.id, ()), settings.installonly):
            current.append(entry.id)
    return current


def reserve_slots(transitions: Transitions, settings: Settings) -> list[Reserved]:
    """Commit to as many builds as there are free slots, in all and in each stream."""
    connection = transitions.connection
    if holds.paused(connection, transitions.now) is not None:
        return []
    reserved: list[Reserved] = []
    live = _live(connection)
    limits = _limits(settings)
    while (free := settings.slots - live.total()) > 0:
        full = [name for name, limit in limits.items() if live[name] >= limit]
        entries = startable.startable(connection, transitions.now, free, full)
        if not entries:
            break
        chosen = _chosen(entries, live, limits, settings.slots)
        sources = inventory.source_versions(connection, [entry.image_id for entry, _ in chosen])
        pins.fix(connection, [entry for entry, _ in chosen])
        transitions.apply([(entry, Dispatched(key=key, source=sources[entry.image_id])) for entry, key in chosen])
        reserved += [Reserved(key, key != entry.key) for entry, key in chosen]
    return reserved


def to_ask_for(connection: Connection, settings: Settings, now: float) -> list[str]:
    """The external parents that registries are asked for now, as builds on them have a slot and wait for the answer."""
    specs = [] if holds.paused(connection, now) is not None else startable.to_ask_for(connection, now, settings.slots)
    return specs if specs and _live(connection).total() < settings.slots else []


def _limits(settings: Settings) -> dict[str, int]:
    """How many builds each stream may run, where that is limited."""
    return {name: stream.max_builds for name, stream in settings.streams.items() if stream.max_builds is not None}


def _live(connection: Connection) -> Counter[str]:
    """How many builds each stream runs."""
    live = Counter(rebuilds.live_by_stream(connection))
    live.update(stream_of(build.image) for build in cancellations.pending(connection))  # they still run
    return live


def _chosen(
    entries: Sequence[RebuildRecord], live: Counter[str], limits: dict[str, int], slots: int
) -> list[tuple[RebuildRecord, str]]:
    """Those that their streams have a slot for, which is taken, with the keys that their builds get."""
    chosen: list[tuple[RebuildRecord, str]] = []
    for entry in entries:
        stream = stream_of(entry.image)
        if live[stream] < limits.get(stream, slots):
            chosen.append((entry, _key(entry)))
            live[stream] += 1
    return chosen


def _key(entry: RebuildRecord) -> str:
    """A build that the builder had is over, and the next has a key of its own; one that never arrived keeps its key."""
    anew = entry.ref or not entry.attempt
    return key_of_attempt(entry.key, entry.attempt + 1) if anew else entry.key
