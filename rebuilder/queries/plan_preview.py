"""What updates, or a wave that waits, would do to the images in the database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from sqlalchemy import Connection

from rebuilder.config import Settings
from rebuilder.domain.change import Change, Severity
from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import Stream
from rebuilder.domain.rpm import SourceBuild
from rebuilder.engine import ingest, planning
from rebuilder.engine.plan_preview import Draft, builds_named, changes_from
from rebuilder.store import inventory, waves


def draft(
    connection: Connection, updates: Sequence[str], stream: str | None, severity: Severity, settings: Settings,
    now: float,
) -> Draft:
    """What these source builds, by their NVRs, would rebuild. Changes nothing.

    Raises RequestError for what is no NVR, an unknown stream or an empty inventory.
    """
    builds = builds_named(updates, partial(inventory.sources_of, connection))
    return planning.draft(connection, wanted(connection, builds, stream, severity, settings), settings, now)


def wanted(
    connection: Connection, builds: Iterable[SourceBuild], stream: str | None, severity: Severity, settings: Settings
) -> list[Change]:
    """The changes that these builds are. Raises RequestError for an unknown stream or an empty inventory."""
    return changes_from(builds, streams(connection, settings), stream, severity)


def streams(connection: Connection, settings: Settings) -> tuple[Stream, ...]:
    """The streams there are. Raises RequestError where there are none."""
    known = ingest.known_streams(connection, settings)
    if not known:
        raise RequestError("the inventory is empty: run `rebuilder inventory sync` first")
    return known


def proposed(connection: Connection, wave_id: int, settings: Settings, now: float) -> Draft:
    """What a wave that waits for an operator would do if it were approved now."""
    taken = [item.change for item in waves.changes_of(connection, wave_id)]
    return planning.draft(connection, taken, settings, now, approved=True)
