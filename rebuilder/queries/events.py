"""What happened to rebuilds, in the order in which it did, for whoever follows."""

from __future__ import annotations

from sqlalchemy import Connection

from rebuilder.queries.answer import Answer
from rebuilder.queries.moment import Moment, moment
from rebuilder.store import rebuild_progress

MOST = 200


class RebuildEvent(Answer):
    """A step of a rebuild; `state` is the one that it is in since. Later events have larger ids."""

    id: int
    at: Moment
    rebuild: int
    wave: int
    image: str
    event: str
    state: str
    reason: str


def after(connection: Connection, last: int, wave: int | None) -> tuple[list[RebuildEvent], bool]:
    """The first events behind the one of that id, of one wave or of all; and whether there may be more."""
    rows = rebuild_progress.steps_after(connection, last, wave, MOST)
    events = [
        RebuildEvent(id=row.id, at=moment(row.at), rebuild=row.rebuild_id, wave=row.wave_id, image=row.image,
                     event=row.event, state=row.state, reason=row.reason)
        for row in rows
    ]
    return events, len(events) == MOST
