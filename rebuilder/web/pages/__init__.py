"""The pages, made on the server from templates that escape whatever is put into them."""

from __future__ import annotations

from fastapi import APIRouter

from rebuilder.web.pages import badge, change, image, listing, overview, rebuild, search, wave

router = APIRouter(include_in_schema=False)
for part in (overview, listing, wave, rebuild, image, badge, change, search):
    router.include_router(part.router)
