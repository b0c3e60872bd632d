"""One rebuild: its story, its causes, and the end of its log."""

from __future__ import annotations

import logging

from fastapi import APIRouter, Request, Response
from sqlalchemy import Engine

from rebuilder.config import Settings
from rebuilder.domain.build import InfrastructureError
from rebuilder.domain.errors import RequestError
from rebuilder.engine import factory
from rebuilder.store import causes, open_rebuilds, rebuild_progress, waves
from rebuilder.store.rebuilds import RebuildRecord
from rebuilder.web.dependencies import Configured, Database, Reader
from rebuilder.web.pages.rendering import Missing, PageRoute, link, page

LINES, LONGEST = 200, 2_000_000
log = logging.getLogger(__name__)

router = APIRouter(route_class=PageRoute)


@router.get("/rebuilds/{rebuild_id:int}")
def one(request: Request, rebuild_id: int, connection: Reader, engine: Database, settings: Configured) -> Response:
    """One rebuild."""
    entry = rebuild_progress.find(connection, rebuild_id) if rebuild_id < waves.LARGEST else None
    if entry is None:
        raise Missing(f"there is no rebuild {rebuild_id}")
    return page(
        request, "rebuild.html", connection, live=f"wave={entry.wave_id}",
        entry=entry,
        reasons=causes.reasons_of(connection, [rebuild_id]).get(rebuild_id, ()),
        messages=causes.messages_of(connection, [rebuild_id]).get(rebuild_id, ()),
        steps=rebuild_progress.steps_of(connection, rebuild_id),
        behind=open_rebuilds.blocked_below(connection, rebuild_id),
        log="" if link(entry.log) else _end_of_log(engine, settings, entry),
    )


def _end_of_log(engine: Engine, settings: Settings, entry: RebuildRecord) -> str:
    """The last lines of the build's log, where the builder keeps it within reach; empty where it does not."""
    if not entry.ref:
        return ""
    try:
        builder = factory.builder_for(engine, settings)
        try:
            text = "".join(builder.log(entry.ref))
        finally:
            builder.close()
    except (InfrastructureError, RequestError) as error:
        log.info("log of %s: %s", entry.ref, error)
        return ""
    return "\n".join(text[-LONGEST:].splitlines()[-LINES:])
