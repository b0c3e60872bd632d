"""An image: what it is on, what is in it, what happened to it, and why it was rebuilt or was not."""

from __future__ import annotations

import time

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from rebuilder.domain.errors import RequestError
from rebuilder.engine import why
from rebuilder.queries import image_state
from rebuilder.store import builds, deliveries, inventory, open_rebuilds, search
from rebuilder.web.dependencies import Configured, Reader
from rebuilder.web.pages.rendering import Missing, PageRoute, page, segment
from rebuilder.web.pages.search import normalize_query

BUILDS, CHILDREN = 10, 60

router = APIRouter(route_class=PageRoute)


@router.get("/images/{key:path}")
def image(request: Request, key: str, connection: Reader, settings: Configured) -> Response:
    """One image."""
    name = normalize_query(key)
    entry = inventory.find(connection, [name]).get(name)
    if entry is None:
        try:
            name = search.image_named(connection, name)
        except RequestError as error:
            raise Missing(str(error)) from None
        return RedirectResponse(f"/images/{segment(name)}")
    image_id = open_rebuilds.image_ids(connection, [name])[name]
    built = builds.of_image(connection, image_id, BUILDS)
    children = inventory.children(connection, image_id)
    shown = {name, *(parent.image for parent in entry.parents), *children[:CHILDREN]}
    states = image_state.read(connection, settings, time.time(), shown)
    present = name in states
    current_id = inventory.current_build_id(connection, image_id)
    current = next((build for build in built if build.id == current_id), built[0] if built else None)
    return page(
        request, "image.html", connection, live=f"image={image_id}",
        image=entry, present=present, children=children, shown=CHILDREN, state_of=states, builds=built, current=current,
        content=builds.content(connection, current.manifest_id) if current and current.manifest_id else [],
        waiting=deliveries.waiting_of_image(connection, image_id),
        answer=why.why(connection, name, settings, time.time()) if present else None,
    )
