"""Whether the parts are well: the loops, the bus, the builder and the database."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from rebuilder.config import Settings
from rebuilder.store import heartbeats, inbox
from rebuilder.web.pages.rendering import roughly

LATE_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the service: `state` is well, late, trouble or unknown."""

    name: str
    state: str
    words: str


def read(connection: Connection, settings: Settings, now: float) -> list[Part]:
    """The parts, as far as the database knows of them."""
    beats = heartbeats.read(connection)
    return [*(_loop(beat, now) for beat in beats.values()), _bus(connection, now), _database(connection)]


def _loop(beat: heartbeats.Beat, now: float) -> Part:
    if beat.trouble:
        return Part(beat.loop, "trouble", beat.trouble)
    if beat.late(now):
        return Part(beat.loop, "late", f"no sign of life for {roughly(now - beat.at)}")
    return Part(beat.loop, "well", f"got on {roughly(now - beat.at)} ago")


def _bus(connection: Connection, now: float) -> Part:
    counts, oldest = inbox.counts(connection), inbox.oldest_unread(connection)
    told = f"{counts.get('new', 0)} messages unread, {counts.get('rejected', 0)} rejected"
    if oldest is not None and now - oldest > LATE_SECONDS:
        return Part("inbox", "late", f"{told}; the oldest has waited for {roughly(now - oldest)}")
    return Part("inbox", "well", told)


def _database(connection: Connection) -> Part:
    return Part("database", "well", {"sqlite": "SQLite", "postgresql": "PostgreSQL"}[connection.dialect.name])
