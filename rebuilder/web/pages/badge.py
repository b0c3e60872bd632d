"""A badge: how an image stands, for a README elsewhere."""

from __future__ import annotations

import time
from contextlib import suppress

from fastapi import APIRouter, Request, Response
from msgspec import Struct

from rebuilder.domain.change import Severity
from rebuilder.domain.currency import Currency, ImageState
from rebuilder.domain.errors import RequestError
from rebuilder.domain.lifecycle import OPEN, STOPPED, State
from rebuilder.queries import image_state
from rebuilder.store import search
from rebuilder.web.dependencies import Configured, Reader
from rebuilder.web.pages.rendering import TEMPLATES, PageRoute
from rebuilder.web.pages.search import normalize_query

LABEL = "rebuilder"
CHARACTER, PADDING = 6.6, 12.0
GREY, GREEN, RED, AMBER, VIOLET, BLUE = "#595f69", "#1a7f37", "#b3261e", "#8a5a00", "#8b2a8b", "#1f5fbf"
COLOURS = {
    Currency.CURRENT: GREEN, Currency.STALE: RED, Currency.UNKNOWN: GREY, Currency.HELD: VIOLET,
    Currency.WAITING: AMBER,
}  # fmt: skip
UNKNOWN_IMAGE = "unknown image", GREY

router = APIRouter(route_class=PageRoute)


class Side(Struct, frozen=True):
    """One half of a badge. Widths are guesses: whoever looks at it has what fonts they have, so text is fitted in."""

    text: str
    colour: str
    x: float
    width: float


def _told(image: ImageState) -> tuple[str, str]:
    """What the image is, and of a stale one what is done about it, else how pressing that is; and the colour."""
    rebuild = State(image.last_rebuild) if image.last_rebuild else None
    if image.state is Currency.STALE and rebuild in OPEN:
        return f"{image.state}: {rebuild}", BLUE
    if image.state is Currency.STALE and rebuild in STOPPED:
        return f"{image.state}: rebuild {rebuild}", RED
    pressing = image.severity if image.severity is not Severity.UNSPECIFIED else None
    return f"{image.state}: lacks {pressing} fix" if pressing else str(image.state), COLOURS[image.state]


@router.get("/badges/{key:path}.svg")
def badge(request: Request, key: str, connection: Reader, settings: Configured) -> Response:
    """The badge of an image; one of an unknown image says so, because a README should not break."""
    name = normalize_query(key)
    with suppress(RequestError):
        name = search.image_named(connection, name)
    state = image_state.read(connection, settings, time.time(), [name]).get(name)
    word, colour = _told(state) if state else UNKNOWN_IMAGE
    left = Side(LABEL, "#24292f", 0, PADDING * 2 + CHARACTER * len(LABEL))
    right = Side(word, colour, left.width, PADDING * 2 + CHARACTER * len(word))
    return TEMPLATES.TemplateResponse(
        request, "badge.svg", {"left": left, "right": right}, media_type="image/svg+xml",
        status_code=200 if state else 404,
        headers={"Cache-Control": "no-cache", "Cross-Origin-Resource-Policy": "cross-origin"},
    )
