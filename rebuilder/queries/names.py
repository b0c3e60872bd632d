"""Whether there are images, streams, owners and waves of the names that a list is filtered by, and what may be meant.

A list of a misspelt name would be empty, as if all were well. What left the inventory is still known: its history is.
"""

from __future__ import annotations

from sqlalchemy import Connection

from rebuilder.config import Settings
from rebuilder.domain import naming
from rebuilder.domain.errors import RequestError, UnknownError
from rebuilder.store import change_lookup, search, waves


def check_image(connection: Connection, pattern: str) -> None:
    """Raises RequestError for a glob of a name, or of name:stream, that no image ever matched."""
    if pattern and not search.is_matched(connection, image=pattern):
        raise RequestError(f"image: {naming.no_image_fits(pattern, search.all_names(connection))}")


def check_stream(connection: Connection, stream: str, settings: Settings) -> None:
    """Raises RequestError for a stream that is not configured, and that no image was in and no change is of."""
    if not stream or stream in settings.streams or search.is_matched(connection, stream=stream):
        return
    if change_lookup.is_of_stream(connection, stream):
        return
    raise RequestError(f"stream: {naming.unknown_stream(stream, {*settings.streams, *search.streams(connection)})}")


def check_owner(connection: Connection, owner: str) -> None:
    """Raises RequestError for an owner whom the inventory never named."""
    if owner and not search.is_matched(connection, owner=owner):
        near = naming.did_you_mean(owner, search.owners(connection))
        raise RequestError(f"owner: no image has the owner {owner}{near}")


def check_wave(connection: Connection, wave: int | None) -> None:
    """Raises RequestError for a wave that is not there."""
    try:
        if wave is not None:
            waves.find(connection, wave)
    except UnknownError as error:
        raise RequestError(f"wave: {error}") from error
