"""A badge: how an image stands, for a README elsewhere."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from rebuilder.domain.errors import RequestError
from rebuilder.domain.lifecycle import State
from rebuilder.store import image_states, inventory, search
from rebuilder.web.dependencies import Reader
from rebuilder.web.pages.rendering import TEMPLATES, PageRoute
from rebuilder.web.pages.search import normalize_query

LABEL = "rebuilder"
CHARACTER, PADDING = 6.6, 12.0
WORDS = {
    "": ("never rebuilt", "#595f69"),
    State.SUCCEEDED: ("up to date", "#1a7f37"),
    State.UNNEEDED: ("up to date", "#1a7f37"),
    State.FAILED: ("failed", "#b3261e"),
    State.BLOCKED: ("blocked", "#8a5a00"),
    State.CANCELED: ("canceled", "#8b2a8b"),
    State.BUILDING: ("building", "#1f5fbf"),
    State.SUBMITTING: ("building", "#1f5fbf"),
    State.QUEUED: ("queued", "#0b6e8a"),
    State.WAITING: ("queued", "#0b6e8a"),
}

router = APIRouter(route_class=PageRoute)


@dataclass(frozen=True, slots=True)
class Side:
    """One half of a badge. Widths are guesses: whoever looks at it has what fonts they have, so text is fitted in."""

    text: str
    colour: str
    x: float
    width: float


@router.get("/badges/{key:path}.svg")
def badge(request: Request, key: str, connection: Reader) -> Response:
    """The badge of an image; one of an image that nobody knows says so, because a README should not break."""
    wanted = normalize_query(key)
    with suppress(RequestError):
        wanted = search.image_named(connection, wanted)
    known = inventory.find(connection, [wanted])
    word, colour = "unknown image", "#595f69"
    if known:
        word, colour = WORDS[image_states.states(connection, [wanted]).get(wanted, "")]
    left = Side(LABEL, "#24292f", 0, PADDING * 2 + CHARACTER * len(LABEL))
    right = Side(word, colour, left.width, PADDING * 2 + CHARACTER * len(word))
    return TEMPLATES.TemplateResponse(
        request, "badge.svg", {"left": left, "right": right}, media_type="image/svg+xml",
        status_code=200 if known else 404,
        headers={"Cache-Control": "no-cache", "Cross-Origin-Resource-Policy": "cross-origin"},
    )
