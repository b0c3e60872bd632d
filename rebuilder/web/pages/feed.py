"""An Atom feed: waves as they are planned and end, and images whose last rebuilds failed."""

from __future__ import annotations

import time
from collections.abc import Iterable

from fastapi import APIRouter, Request, Response
from msgspec import Struct

from rebuilder.domain.lifecycle import STOPPED, RebuildRecord
from rebuilder.queries import status
from rebuilder.queries.status import WaveInBrief
from rebuilder.store import attention_order, lists
from rebuilder.store.filters import PageRequest
from rebuilder.web.dependencies import Configured, Reader
from rebuilder.web.pages.rendering import TEMPLATES, PageRoute
from rebuilder.web.parameters import Images, build_filter

SHOWN = 50
MEDIA_TYPE = "application/atom+xml"

router = APIRouter(route_class=PageRoute)


class Entry(Struct, frozen=True):
    """Something that happened: `ident` stays the same as long as it is the same news."""

    ident: str
    title: str
    text: str
    path: str
    at: float


@router.get("/feed.atom")
def feed(request: Request, connection: Reader, settings: Configured, images: Images) -> Response:
    """The last waves and failures, of all images or of some (by name, stream, package or owner)."""
    filters, part = build_filter(images), PageRequest(SHOWN)
    waves = lists.waves(connection, filters, part)
    briefs = status.briefs(connection, waves)
    failed = lists.rebuilds(connection, filters, part, attention_order.REBUILDS)
    entries = sorted([*map(_of_wave, briefs.values()), *_of_failures(failed)], key=lambda entry: -entry.at)[:SHOWN]
    content = {
        "entries": entries, "base": (settings.notify.url or str(request.base_url)).rstrip("/"),
        "query": request.url.query, "updated": entries[0].at if entries else time.time(),
    }
    answer = TEMPLATES.TemplateResponse(request, "feed.xml", content, media_type=MEDIA_TYPE)
    answer.headers["Cache-Control"] = "no-cache"
    return answer


def _of_wave(wave: WaveInBrief) -> Entry:
    counts = ", ".join(f"{count} {state}" for state, count in wave.rebuilds.items())
    at = wave.finished or wave.created
    waits = f"waits for approval: rule “{wave.rule}”" if wave.state == "planned" else ""
    went_well = STOPPED.isdisjoint(wave.rebuilds)
    state = wave.state if wave.state != "finished" or went_well else f"{wave.state}, not well"
    return Entry(f"wave:{wave.id}:{wave.state}:{at.timestamp():.0f}", f"Wave {wave.id} is {state}", counts or waits,
                 f"/waves/{wave.id}", at.timestamp())


def _of_failures(failed: Iterable[RebuildRecord]) -> list[Entry]:
    return [
        Entry(f"rebuild:{entry.id}:{entry.attempt}", f"{entry.image} {entry.state}", entry.reason,
              f"/rebuilds/{entry.id}", entry.ended_at or entry.created_at)
        for entry in failed
    ]  # fmt: skip
