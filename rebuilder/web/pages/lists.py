"""Long lists, a part at a time, filtered, with what needs attention first: waves, images, rebuilds, changes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response

from rebuilder.domain.change import Severity
from rebuilder.domain.currency import Currency
from rebuilder.domain.lifecycle import State
from rebuilder.queries import forecast, image_records, packages
from rebuilder.store import attention_order, inventory, lists
from rebuilder.store.filters import PageRequest
from rebuilder.store.models.rebuilds import WAVE_STATES
from rebuilder.web.dependencies import Configured, Reader
from rebuilder.web.pages.overview import wave_lines
from rebuilder.web.pages.rendering import PageRoute, page
from rebuilder.web.pages.search import WORDS, normalize_query
from rebuilder.web.parameters import (
    BinaryPackage,
    Changes,
    ChangeState,
    Cursor,
    Images,
    ImageStates,
    InStream,
    InWave,
    RebuildStates,
    Text,
    Times,
    WaveStates,
    build_filter,
    cursor_of,
    read_cursor,
)

SHOWN, WAVES = 50, 20

router = APIRouter(route_class=PageRoute)


def _part(cursor: str | None, shown: int = SHOWN) -> PageRequest:
    return PageRequest(shown + 1, read_cursor(cursor) if cursor else None)


def _list(
    request: Request, name: str, connection: Reader, states: Sequence[str], cursor: str | None, **content: Any
) -> Response:
    """A page with a list: what it is filtered by stays in the links to the next part, and to the same as CSV."""
    given = [(key, value) for key, value in request.query_params.multi_items() if value and key != "cursor"]
    return page(
        request, name, connection, live="", given=dict(given), states=states, severities=list(Severity),
        streams=[stream.name for stream in inventory.streams(connection)],
        chosen=[value for key, value in given if key == "state"], filtered=bool(given),
        following=f"?{urlencode([*given, ('cursor', cursor)])}" if cursor else None,
        csv=f"/api/v1{request.url.path}?{urlencode([*given, ('order', 'need'), ('format', 'csv')])}", **content,
    )


@router.get("/waves")
def all_waves(
    request: Request, connection: Reader, settings: Configured, images: Images, changes: Changes, times: Times,
    state: WaveStates = (), q: WORDS = "", cursor: Cursor = None,
) -> Response:
    """The waves."""
    filters = build_filter(images, changes, times, states=state, text=normalize_query(q))
    part = _part(cursor, WAVES)
    fetch = partial(lists.waves, connection, filters)
    rows = attention_order.ordered("need", fetch, attention_order.WAVES, part, lambda wave: wave.id)
    shown = [wave for wave, _ in rows[:WAVES]]
    lines = wave_lines(connection, shown, forecast.read(connection, settings, time.time()))
    following = cursor_of(rows, part, lambda row: row[1])
    return _list(request, "waves.html", connection, WAVE_STATES, following, waves=lines)


@router.get("/rebuilds")
def all_rebuilds(
    request: Request, connection: Reader, images: Images, changes: Changes, times: Times,
    wave: InWave, state: RebuildStates = (), q: WORDS = "", cursor: Cursor = None,
) -> Response:
    """The rebuilds."""
    filters = build_filter(images, changes, times, states=state, wave=wave, text=normalize_query(q))
    part, fetch = _part(cursor), partial(lists.rebuilds, connection, filters)
    rows = attention_order.ordered("need", fetch, attention_order.REBUILDS, part, lambda entry: entry.id)
    following = cursor_of(rows, part, lambda row: row[1])
    shown = [entry for entry, _ in rows[:SHOWN]]
    return _list(request, "rebuilds.html", connection, list(State), following, rebuilds=shown)


@router.get("/images")
def all_images(
    request: Request, connection: Reader, settings: Configured, images: Images, lacking: Changes,
    rpm: BinaryPackage, state: ImageStates = (),
    last_rebuild: RebuildStates = (), q: WORDS = "", cursor: Cursor = None,
) -> Response:
    """The images of the inventory, and what each of them is."""
    filters = build_filter(images, lacking, rpm=rpm, currencies=state, states=last_rebuild, text=normalize_query(q))
    part = _part(cursor)
    listing = image_records.images_by_need(connection, filters, part, settings, time.time())
    following = cursor_of(listing.items, part, lambda image: image.image)
    return _list(request, "images.html", connection, list(Currency), following,
                 images=listing.items[:SHOWN], counts=listing.counts, total=listing.total)


@router.get("/changes")
def all_changes(
    request: Request, connection: Reader, changes: Changes, times: Times, stream: InStream, package: Text = "",
    state: ChangeState = (), q: WORDS = "", cursor: Cursor = None,
) -> Response:
    """The changes."""
    packages.check(connection, package)
    words = normalize_query(q)
    filters = build_filter(changes, times, stream=stream, package=package, states=state, text=words)
    part, fetch = _part(cursor), partial(lists.changes, connection, filters)
    rows = attention_order.ordered("need", fetch, attention_order.CHANGES, part, lambda entry: entry.noticed.id)
    following = cursor_of(rows, part, lambda row: row[1])
    shown = [entry for entry, _ in rows[:SHOWN]]
    return _list(request, "changes.html", connection, ("settling", "planned", "withdrawn"), following, changes=shown)
