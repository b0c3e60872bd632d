"""Search: one field for images, changes, updates and waves."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import Connection

from rebuilder.domain.errors import UnknownError
from rebuilder.queries import image_state, packages
from rebuilder.store import search, waves
from rebuilder.store.waves import WaveEntry
from rebuilder.web.dependencies import Configured, Reader
from rebuilder.web.pages.rendering import PageRoute, page

SHOWN, LONGEST = 20, 200
LONGEST_NUMBER = 10
WORDS = Annotated[str, Query(max_length=1000)]

router = APIRouter(route_class=PageRoute)


def normalize_query(words: str) -> str:
    """What can be looked for: no database has NUL in a text, and nothing that is long is found by all of it."""
    return words.replace("\0", "").strip()[:LONGEST]


@router.get("/search")
def find(request: Request, connection: Reader, settings: Configured, q: WORDS = "") -> Response:
    """Whatever has these words in its name."""
    words = normalize_query(q)
    images = search.images(connection, words, SHOWN + 1) if words else []
    sources, changed = packages.find(connection, words), search.changes(connection, words, SHOWN + 1) if words else []
    nothing = bool(words) and not (images or sources or changed)
    return page(
        request, "search.html", connection, words=words, shown=SHOWN,
        wave=_wave(connection, words),
        packages=sources, images=images, alike=packages.alike(connection, words) if nothing else [],
        states=image_state.read(connection, settings, time.time(), {image.key for image in images}),
        changes=changed,
    )


def _wave(connection: Connection, words: str) -> WaveEntry | None:
    """The wave of that number, where the words are one; a number may as well be a part of a name, as 389."""
    if not (words.isascii() and words.isdigit() and len(words) < LONGEST_NUMBER):
        return None
    with suppress(UnknownError):
        return waves.find(connection, int(words))
    return None
