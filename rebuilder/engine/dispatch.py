"""From the queue to the builder.

The intent is committed before anything is submitted, and the builder is always asked for the key first: what an
earlier life of the engine submitted is found and adopted, never submitted twice.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

from sqlalchemy import Connection, Engine

from rebuilder.builders.protocol import Builder
from rebuilder.config import Settings
from rebuilder.domain.build import BuildRejected, BuildRequest, InfrastructureError, Submission
from rebuilder.domain.change import Severity
from rebuilder.domain.lifecycle import LIVE, Event
from rebuilder.engine import outcome
from rebuilder.engine.together import together
from rebuilder.store import causes, holds, inventory, rebuilds, steps
from rebuilder.store.database import reading
from rebuilder.store.rows import chunks
from rebuilder.store.steps import Move

log = logging.getLogger(__name__)
Answer = Submission | InfrastructureError | BuildRejected


def release(connection: Connection, settings: Settings, now: float) -> int:
    """Queue what no longer waits for a parent; drop what has lost its cause meanwhile. How many there were."""
    entries = rebuilds.released(connection)
    for part in chunks(entries, 500):
        ids = [entry.id for entry in part]
        gone = dict.fromkeys(rebuilds.without_cause(connection, ids), "its parents came out unchanged")
        gone.update(dict.fromkeys(_current(connection, ids), "it became current by another build"))
        moves = [
            Move(entry, Event.CAUSES_GONE if entry.id in gone else Event.PARENTS_DONE, gone.get(entry.id, ""))
            for entry in part
        ]
        steps.move_all(connection, moves, now, settings.max_attempts)
    return len(entries)


def _current(connection: Connection, ids: list[int]) -> list[int]:
    """Those whose image got another build since they were planned, which has all that they are for."""
    overtaken = rebuilds.overtaken(connection, ids)
    reasons = causes.reasons_of(connection, [entry.id for entry in overtaken])
    found = []
    for entry in overtaken:
        build = inventory.manifest_of(connection, entry.image)
        if build is not None and build.manifest is not None and not outcome.not_updated(build, reasons[entry.id]):
            found.append(entry.id)
    return found


def intend(connection: Connection, settings: Settings, now: float) -> int:
    """Commit to as many builds as there are free slots, in all and in each stream; how many."""
    if holds.paused(connection) is not None:
        return 0
    live = Counter(_stream_of(entry) for entry in rebuilds.in_states(connection, LIVE))
    limits = {name: stream.max_builds for name, stream in settings.streams.items() if stream.max_builds is not None}
    begun = live.total()
    while (free := settings.slots - live.total()) > 0:
        full = [name for name, limit in limits.items() if live[name] >= limit]
        entries = rebuilds.startable(connection, now, free, full)
        if not entries:
            break
        chosen = []
        for entry in entries:
            stream = _stream_of(entry)
            if live[stream] < limits.get(stream, settings.slots):
                chosen.append(_dispatched(entry))
                live[stream] += 1
        steps.move_all(connection, chosen, now, settings.max_attempts)
    return live.total() - begun


def _stream_of(entry: rebuilds.Entry) -> str:
    return entry.image.rpartition(":")[2]


def _dispatched(entry: rebuilds.Entry) -> Move:
    lost = entry.ref or not entry.attempt
    key = rebuilds.key_of_attempt(entry.key, entry.attempt + 1) if lost else entry.key
    return Move(entry, Event.DISPATCHED, values={"key": key, "ref": "", "log": ""})


def submit(engine: Engine, builder: Builder, settings: Settings, now: float) -> int:
    """Hand over to the builder all that is committed to; how many arrived.

    Raises InfrastructureError where the builder cannot be asked what it has already: then nothing is submitted.
    """
    with reading(engine) as connection:
        entries = rebuilds.submitting(connection, now)
        orders = _orders(connection, entries)
    if not entries:
        return 0
    found = builder.find([entry.key for entry in entries])
    answers = ((entry, found.get(entry.key) or _answer(builder, orders[entry.id])) for entry in entries)
    return sum(_record(engine, group, settings, now) for group in together(answers))


def _answer(builder: Builder, order: BuildRequest) -> Answer:
    try:
        return builder.submit(order)
    except (InfrastructureError, BuildRejected) as no:
        return no


def _record(
    engine: Engine, answers: Sequence[tuple[rebuilds.Entry, Answer]], settings: Settings, now: float
) -> int:
    accepted = []
    with engine.begin() as connection:
        for entry, answer in answers:
            if isinstance(answer, Submission):
                values = {"ref": answer.ref, "log": answer.log}
                accepted.append(Move(entry, Event.ACCEPTED, values=values))
            elif isinstance(answer, BuildRejected):
                outcome.failed(connection, entry, str(answer), settings, now)
            else:
                outcome.aborted(connection, entry, str(answer), settings, now)
        steps.move_all(connection, accepted, now, settings.max_attempts)
    for made in accepted:
        log.info("building %s as %s", made.entry.image, made.values["ref"])
    return len(accepted)


def _orders(connection: Connection, entries: list[rebuilds.Entry]) -> dict[int, BuildRequest]:
    if not entries:
        return {}
    images = inventory.find(connection, [entry.image for entry in entries])
    parents = {parent.image for image in images.values() for parent in image.parents if parent.image}
    builds = inventory.current_builds(connection, parents | set(images))
    told = causes.changes_of(connection, [entry.id for entry in entries])
    return {
        entry.id: BuildRequest(
            entry.key,
            images[entry.image],
            tuple(builds[p.image] for p in images[entry.image].parents if p.image in builds),
            told.get(entry.id, ()),
            builds.get(entry.image),
            Severity(entry.severity),
        )
        for entry in entries
    }
