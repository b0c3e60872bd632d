"""The changes that are not planned yet, and what they wait for."""

from __future__ import annotations

from sqlalchemy import Connection

from rebuilder.config import Settings
from rebuilder.queries.answer import Answer
from rebuilder.queries.moment import Moment, moment
from rebuilder.store import heartbeats, pending_changes


class Pending(Answer):
    """A change that is not planned yet: what it waits for, and until when at the most."""

    change: str
    stream: str
    waits: str
    until: Moment | None


def read(connection: Connection, settings: Settings, limit: int) -> tuple[Pending, ...]:
    """The first changes that wait to be planned. A repository is named by the build tags that it is made for."""
    beat = heartbeats.read(connection).get("engine")
    build_tags = beat.activity.repositories if beat else {}
    return tuple(
        Pending(change=str(f.change.build), stream=f.change.stream, waits=_waits(f, build_tags), until=moment(f.until))
        for f in pending_changes.waiting(
            connection, settings.settle_seconds, settings.repo_seconds, resolved=bool(settings.koji.hub), limit=limit
        )
    )


def _waits(waiting: pending_changes.Waiting, build_tags: dict[str, tuple[str, ...]]) -> str:
    named = build_tags.get(f"{waiting.change.stream} {waiting.repository}", ()) if waiting.repository else ()
    return f"the repository of {' or '.join(named)}" if named else waiting.waits
