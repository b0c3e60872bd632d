"""The pages, made on the server from templates that escape whatever is put into them."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, Request, Response

from rebuilder.web.pages import badge, change, external, feed, image, lists, log, overview, rebuild, search, wave
from rebuilder.web.pages.rendering import error_page

NO_PAGES = ("api/", "health/", "metrics", "static/")

router = APIRouter(include_in_schema=False)
for part in (overview, lists, wave, rebuild, log, image, external, badge, change, search, feed):
    router.include_router(part.router)

nowhere = APIRouter(include_in_schema=False)


@nowhere.get("/{path:path}")
def nothing(request: Request, path: str) -> Response:
    """Where nothing else is: a page that says so, to those who look for a page."""
    if path.startswith(NO_PAGES):
        raise HTTPException(404)
    return error_page(request, 404, f"no such page: /{path}")
