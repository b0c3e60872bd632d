"""A change, or all of an update: how far the fix has come, as one percentage, and what each image has of it."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from rebuilder.queries import coverage
from rebuilder.queries.coverage import Coverage
from rebuilder.store import lists, waves
from rebuilder.web.dependencies import Configured, Reader
from rebuilder.web.pages.rendering import Missing, PageRoute, page

SHOWN = 100
FirstRow = Annotated[int, Query(ge=0, lt=waves.LARGEST)]

router = APIRouter(route_class=PageRoute)


@router.get("/changes/{change_id:int}")
def change(
    request: Request, change_id: int, connection: Reader, settings: Configured, row: FirstRow = 0
) -> Response:
    """One change: a source build in a stream."""
    noted = lists.change(connection, change_id) if change_id < waves.LARGEST else None
    if noted is None:
        raise Missing(f"there is no change {change_id}")
    progress = coverage.read_change(connection, noted.noticed, settings, time.time(), slice(row, row + SHOWN))
    return page(
        request, "change.html", connection, live="",
        noted=noted, waves=waves.taking_up(connection, change_id), coverage=progress, first=row, size=SHOWN,
    )


@router.get("/updates/{name:path}")
def update(request: Request, name: str, connection: Reader, settings: Configured, row: FirstRow = 0) -> Response:
    """All that an update brought, by its alias; or a source build in all streams, by its NVR."""
    shown = slice(row, row + SHOWN)
    progress: Coverage = coverage.read(connection, name.replace("\0", ""), settings, time.time(), shown)
    return page(
        request, "update.html", connection, live="",
        coverage=progress, first=row, size=SHOWN,
    )
