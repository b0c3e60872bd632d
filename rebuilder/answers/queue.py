"""What waits for a slot, in the order in which it will start, and why it has not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection

from rebuilder.answers.answer import Answer
from rebuilder.answers.moment import Moment, moment
from rebuilder.answers.status import OpenRebuild, open_rebuild
from rebuilder.config import Settings
from rebuilder.domain.lifecycle import LIVE, State
from rebuilder.store import holds, progress, rebuilds
from rebuilder.store.rebuilds import Entry


class Queued(OpenRebuild):
    """A rebuild in the queue. `waits` says what keeps it from starting; empty where the next free slot is its."""

    since: Moment
    waits: str


class Queue(Answer):
    """`running` builds use slots; of the `queued` ones, `length` in all, the first are here, in their order."""

    slots: int
    running: tuple[OpenRebuild, ...]
    length: int
    oldest: Moment | None
    queued: tuple[Queued, ...]


def read(connection: Connection, settings: Settings, now: float, limit: int = 100) -> Queue:
    """The queue as it is now, its first `limit` rebuilds."""
    live = rebuilds.in_states(connection, LIVE)
    entries = rebuilds.in_states(connection, [State.QUEUED], limit)
    paused = holds.paused(connection)
    held = {image: str(hold) for image, hold in holds.held(connection, now).items()}
    reasons = _Reasons(settings, live, f"paused by {paused}" if paused else "", held, now)
    postponed = progress.not_before(connection, [entry.id for entry in entries])
    return Queue(
        slots=settings.slots,
        running=tuple(open_rebuild(entry) for entry in live),
        length=progress.count_in(connection, State.QUEUED),
        oldest=moment(progress.oldest_in(connection, State.QUEUED)),
        queued=tuple(
            Queued(**open_rebuild(entry).model_dump(), since=moment(entry.created_at),
                   waits=reasons.of(entry, postponed.get(entry.id, 0.0)))
            for entry in entries
        ),
    )


class _Reasons:
    """Why rebuilds in the queue have not started: the first thing that would have to change."""

    def __init__(
        self, settings: Settings, live: Sequence[Entry], paused: str, held: Mapping[str, str], now: float
    ) -> None:
        self._settings = settings
        self._paused = paused
        self._held = held
        self._now = now
        self._building = {entry.image for entry in live}
        self._streams = Counter(entry.image.rpartition(":")[2] for entry in live)

    def of(self, entry: Entry, not_before: float) -> str:
        stream = entry.image.rpartition(":")[2]
        limit = self._settings.streams[stream].max_builds if stream in self._settings.streams else None
        slots = self._settings.slots
        if self._paused:
            return self._paused
        if entry.image in self._held:
            return f"held by {self._held[entry.image]}"
        if entry.image in self._building:
            return "an earlier build of it runs"
        if not_before > self._now:
            return f"after trouble, not before {datetime.fromtimestamp(not_before, UTC):%Y-%m-%d %H:%M:%SZ}"
        if limit is not None and self._streams[stream] >= limit:
            return f"all {limit} slots of stream {stream} are in use"
        return f"all {slots} slots are in use" if self._streams.total() >= slots else ""
