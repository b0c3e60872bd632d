"""Images of others that ours are built on: all of them, and one with its RPMs."""

from __future__ import annotations

import time

from fastapi import APIRouter, Request, Response

from rebuilder.domain.errors import UnknownError
from rebuilder.queries import externals, image_state
from rebuilder.web.dependencies import Configured, Reader
from rebuilder.web.pages.rendering import Missing, PageRoute, page

SHOWN = 60  # images on one

router = APIRouter(route_class=PageRoute)


@router.get("/externals")
def list_externals(request: Request, connection: Reader) -> Response:
    """All external parents."""
    return page(request, "externals.html", connection, externals=externals.read(connection))


@router.get("/externals/{spec:path}")
def external(request: Request, spec: str, connection: Reader, settings: Configured) -> Response:
    """One external parent, by its pull spec."""
    try:
        parent = externals.in_full(connection, spec.replace("\0", ""))
    except UnknownError as error:
        raise Missing(str(error)) from None
    states = image_state.read(connection, settings, time.time(), parent.images[:SHOWN])
    return page(request, "external.html", connection, external=parent, shown=SHOWN, state_of=states)
