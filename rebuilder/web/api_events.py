"""Events for scripts: each step of each rebuild as it happens, and all that a client missed while it was away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header
from fastapi.sse import EventSourceResponse, ServerSentEvent
from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool

from rebuilder.queries import events, names
from rebuilder.store import change_cursor
from rebuilder.store.database import reading
from rebuilder.web.dependencies import Database
from rebuilder.web.parameters import WaveNumber
from rebuilder.web.problems import MODELS
from rebuilder.web.sse import RETRY_MILLISECONDS, Broadcaster, Interest, open_broadcaster
from rebuilder.web.strict import Strict

EXAMPLE = """\
id: 4711
event: rebuild
retry: 3000
data: {"id": 4711, "at": "2026-11-28T03:00:00.000Z", "rebuild": 42, "wave": 7, "image": "httpd:f42", \
"event": "failed", "state": "failed", "reason": "build failed: exit status 1"}

"""
ITEM = {"properties": {
    "event": {"const": "rebuild"},
    "data": {"contentMediaType": "application/json", "contentSchema": {"$ref": f"{MODELS}RebuildEvent"}},
}}  # fmt: skip
MOST = 2**62

router = APIRouter(route_class=Strict)


def in_wave(engine: Database, wave: WaveNumber = None) -> int | None:
    """The wave whose events are asked for; no connection is kept. Raises RequestError for one that is not there."""
    with reading(engine) as connection:
        names.check_wave(connection, wave)
    return wave


@router.get(
    "/events",
    response_class=EventSourceResponse,
    responses={200: {"description": "Events until the client leaves", "content": {
        "text/event-stream": {"schema": {"type": "string"}, "itemSchema": ITEM, "example": EXAMPLE}}}},
)
async def stream_events(
    hub: Annotated[Broadcaster, Depends(open_broadcaster)], engine: Database,
    wave: Annotated[int | None, Depends(in_wave)],
    last_event_id: Annotated[int | None, Header(
        ge=0, lt=MOST, description="The id of the last event that the client has: it gets those after it first.",
        examples=[4711])] = None,
) -> AsyncIterator[ServerSentEvent]:
    """Each step of each rebuild, or of one wave's, as Server-Sent Events of type `rebuild`.

    The `data` of an event is JSON, a `RebuildEvent`: what happened to the rebuild (`event`), and the state that it is
    in since. Ids grow: a client that was cut off says the last in `Last-Event-ID` and misses nothing, as far
    back as history is kept. Without it the stream begins with what happens next. A comment every 15 s keeps it open.
    """
    last: int | None = None
    async for mark in hub.listen(Interest()):
        if last is None:
            last = mark.step if last_event_id is None else await run_in_threadpool(_reached, engine, last_event_id)
        more = True
        while more:
            events, more = await run_in_threadpool(_after, engine, last, wave)
            for event in events:
                last = event.id
                data = event.model_dump_json()
                yield ServerSentEvent(event="rebuild", id=str(event.id), raw_data=data, retry=RETRY_MILLISECONDS)


def _reached(engine: Engine, last: int) -> int:
    """The id that a client has, or the newest where this database has none as large: a backup was restored."""
    with reading(engine) as connection:
        return min(last, change_cursor.read(connection).step)


def _after(engine: Engine, last: int, wave: int | None) -> tuple[list[events.RebuildEvent], bool]:
    with reading(engine) as connection:
        return events.after(connection, last, wave)
