"""An image: what it is on, what is in it, what happened to it, and why it was rebuilt or was not."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import Connection

from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import Image, Parent
from rebuilder.engine import why
from rebuilder.store import builds, image_states, inventory, open_rebuilds, search
from rebuilder.web.dependencies import Configured, Reader
from rebuilder.web.pages.rendering import Missing, PageRoute, page, segment
from rebuilder.web.pages.search import normalize_query

BUILDS, CHILDREN = 10, 60

router = APIRouter(route_class=PageRoute)


@dataclass(frozen=True, slots=True)
class Relatives:
    """What the image is on, and what is on it: names with the states of their last rebuilds."""

    parents: Sequence[tuple[Parent, str]]
    children: Sequence[tuple[str, str]]
    more: bool


def _relatives(connection: Connection, image: Image, image_id: int) -> Relatives:
    children = image_states.children(connection, image_id, CHILDREN + 1)
    states = image_states.states(connection, [parent.image for parent in image.parents if parent.image])
    return Relatives(
        [(parent, states.get(parent.image, "")) for parent in image.parents],
        children[:CHILDREN], len(children) > CHILDREN,
    )


@router.get("/images/{key:path}")
def image(request: Request, key: str, connection: Reader, settings: Configured) -> Response:
    """One image."""
    wanted = normalize_query(key)
    found = inventory.find(connection, [wanted]).get(wanted)
    if found is None:
        try:
            wanted = search.image_named(connection, wanted)
        except RequestError as error:
            raise Missing(str(error)) from None
        return RedirectResponse(f"/images/{segment(wanted)}")
    image_id = open_rebuilds.image_ids(connection, [wanted])[wanted]
    built = builds.of_image(connection, image_id, BUILDS)
    present = image_states.is_present(connection, image_id)
    current = built[0] if built else None
    return page(
        request, "image.html", connection, live=f"image={image_id}",
        image=found, present=present, relatives=_relatives(connection, found, image_id),
        builds=built, current=current,
        content=builds.content(connection, current.manifest_id) if current and current.manifest_id else [],
        answer=why.why(connection, wanted, settings, time.time()) if present else None,
    )
