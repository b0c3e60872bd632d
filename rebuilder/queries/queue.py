"""What waits for a slot, in the order in which it will start, and why it has not."""

from __future__ import annotations

from sqlalchemy import Connection

from rebuilder.config import Settings
from rebuilder.domain.lifecycle import LIVE, State
from rebuilder.queries.answer import Answer
from rebuilder.queries.moment import Moment, moment
from rebuilder.queries.status import OpenRebuild, open_rebuild
from rebuilder.queries.waiting import Waiting
from rebuilder.store import open_rebuilds


class Queued(OpenRebuild):
    """A rebuild in the queue. Where it waits for nothing, the next free slot is its."""

    since: Moment


class Queue(Answer):
    """`running` builds use slots; of the `queued` ones, `length` in all, the first are here, in their order."""

    slots: int
    running: tuple[OpenRebuild, ...]
    length: int
    oldest: Moment | None
    queued: tuple[Queued, ...]


def read(connection: Connection, settings: Settings, now: float, limit: int = 100) -> Queue:
    """The queue as it is now, its first `limit` rebuilds."""
    live = open_rebuilds.in_states(connection, LIVE)
    entries = open_rebuilds.in_states(connection, [State.QUEUED], limit)
    waiting = open_rebuilds.queued(connection)
    waits = Waiting(connection, settings, now).of([*live, *entries])
    return Queue(
        slots=settings.slots,
        running=tuple(open_rebuild(entry, waits[entry.id]) for entry in live),
        length=waiting.length,
        oldest=moment(waiting.oldest),
        queued=tuple(
            Queued(**open_rebuild(entry, waits[entry.id]).model_dump(), since=moment(entry.created_at))
            for entry in entries
        ),
    )
