"""What updates, or a wave that waits, would do to the images in the database."""

from __future__ import annotations

from sqlalchemy import Connection

from rebuilder.config import Settings
from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import Stream
from rebuilder.domain.plan import Draft
from rebuilder.engine import ingest, planning
from rebuilder.engine.plan_preview import AskedUpdates
from rebuilder.engine.planning import Assumptions
from rebuilder.queries import packages
from rebuilder.store import waves


def draft(connection: Connection, updates: AskedUpdates, settings: Settings, now: float) -> Draft:
    """What these source builds, updates or CVEs would rebuild. Changes nothing.

    Raises RequestError for what is none of these, an unknown stream, an empty inventory, a package no image carries.
    """
    changes = packages.changes_named(connection, updates, settings)
    return planning.draft(connection, changes, settings, now)


def streams(connection: Connection, settings: Settings) -> tuple[Stream, ...]:
    """The streams there are. Raises RequestError where there are none."""
    streams = ingest.known_streams(connection, settings)
    if not streams:
        raise RequestError("the inventory is empty: run `rebuilder inventory sync` first")
    return streams


def proposed(connection: Connection, wave_id: int, settings: Settings, now: float) -> Draft:
    """What a wave that waits for an operator would do if it were approved now."""
    taken = [item.change for item in waves.changes_of(connection, wave_id)]
    return planning.draft(connection, taken, settings, now, Assumptions(approved=True))
