"""Long lists, a page at a time: waves, images, changes."""

from __future__ import annotations

import time

from fastapi import APIRouter, Request, Response

from rebuilder.queries import forecast, image_state
from rebuilder.store import search, waves
from rebuilder.web.dependencies import Configured, Reader
from rebuilder.web.pages.overview import wave_lines
from rebuilder.web.pages.rendering import PageRoute, page
from rebuilder.web.pages.search import WORDS, normalize_query

SHOWN, WAVES = 50, 20
HIGHEST = 2**31 - 1

router = APIRouter(route_class=PageRoute)


@router.get("/waves")
def all_waves(request: Request, connection: Reader, settings: Configured, before: int = HIGHEST) -> Response:
    """The waves, newest first."""
    found = waves.latest(connection, WAVES + 1, max(0, min(before, HIGHEST)))
    lines = wave_lines(connection, found[:WAVES], forecast.read(connection, settings, time.time()))
    return page(request, "waves.html", connection, waves=lines, more=len(found) > WAVES)


@router.get("/images")
def all_images(
    request: Request, connection: Reader, settings: Configured, q: WORDS = "", after: WORDS = ""
) -> Response:
    """The images by name, or those with some words in it."""
    words = normalize_query(q)
    found = search.images(connection, words, SHOWN + 1, normalize_query(after))
    states = image_state.read(connection, settings, time.time(), {image.key for image in found})
    return page(request, "images.html", connection, images=found[:SHOWN], states=states, more=len(found) > SHOWN,
                words=words)


@router.get("/changes")
def all_changes(request: Request, connection: Reader, q: WORDS = "", before: int = HIGHEST) -> Response:
    """The changes, newest first, or those with some words in them."""
    words = normalize_query(q)
    found = search.changes(connection, words, SHOWN + 1, max(0, min(before, HIGHEST)))
    return page(request, "changes.html", connection, changes=found[:SHOWN], more=len(found) > SHOWN, words=words)
