"""One rebuild: its story, its causes, and the end of its log."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from rebuilder.store import causes, deliveries, open_rebuilds, rebuild_progress, verdicts
from rebuilder.store.database import reading
from rebuilder.web.dependencies import Database, Logs
from rebuilder.web.pages import log
from rebuilder.web.pages.rendering import Missing, PageRoute, page

router = APIRouter(route_class=PageRoute)


@router.get("/rebuilds/{rebuild_id:int}")
def one(request: Request, rebuild_id: int, engine: Database, read: Logs) -> Response:
    """One rebuild."""
    end = log.end_of_log(engine, read, rebuild_id)  # the builder may take its time: no connection waits for it
    with reading(engine) as connection:
        entry = rebuild_progress.find(connection, rebuild_id)
        if entry is None:
            raise Missing(f"there is no rebuild {rebuild_id}")
        return page(
            request, "rebuild.html", connection, live=f"wave={entry.wave_id}",
            entry=entry,
            reasons=causes.reasons_of(connection, [rebuild_id]).get(rebuild_id, ()),
            messages=causes.messages_of(connection, [rebuild_id]).get(rebuild_id, ()),
            steps=rebuild_progress.steps_of(connection, rebuild_id),
            behind=open_rebuilds.blocked_below(connection, rebuild_id),
            attempts=rebuild_progress.attempts_of(connection, entry),
            log=end,
            tested=verdicts.is_tested(connection, rebuild_id),
            checks=verdicts.of_rebuild(connection, rebuild_id),
            waiting=deliveries.waiting_of(connection, entry.key),
        )
