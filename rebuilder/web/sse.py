"""Live pages: a browser hears that what it shows has changed, and fetches the page again.

One look at the database a second serves all who listen, however many they are; none is made while there is no listener.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from msgspec import Struct
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from starlette.concurrency import run_in_threadpool

from rebuilder.store import change_cursor
from rebuilder.store.change_cursor import Difference, Mark
from rebuilder.store.database import first_line, reading
from rebuilder.web.strict import Strict

log = logging.getLogger(__name__)
LOOK_SECONDS = 1.0
MOST_LISTENERS = 300  # of the web's connections: the others are for those who ask something
KEPT = 100
RETRY_MILLISECONDS = 3000

router = APIRouter(include_in_schema=False, route_class=Strict)


class Interest(Struct, frozen=True):
    """What a page shows: a wave, an image, or everything."""

    wave: int | None = None
    image: int | None = None

    def is_met_by(self, difference: Difference) -> bool:
        """Whether the page may look different after this."""
        if difference.others:
            return True
        if self.wave is None and self.image is None:
            return bool(difference.messages or difference.waves or difference.images)
        return self.wave in difference.waves or self.image in difference.images


class Broadcaster:
    """Who listens, and the last differences that were seen. Lives on the event loop of the application."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._news: deque[tuple[int, Mark, Difference]] = deque(maxlen=KEPT)
        self._told = asyncio.Condition()
        self._looking: asyncio.Task[None] | None = None
        self._mark: Mark | None = None
        self._number = 0
        self.listeners = self._places = 0
        self.closed = False

    def close(self) -> None:
        """Send everybody away: the application is about to end."""
        self.closed = True
        if self._looking is not None:
            self._looking.cancel()

    @property
    def full(self) -> bool:
        """Whether no further listener is taken."""
        return self.closed or max(self._places, self.listeners) >= MOST_LISTENERS

    async def listen(self, interest: Interest) -> AsyncIterator[Mark]:
        """How far the database is: now, and whenever something changes that the interest is in."""
        with self._listening():
            if self._mark is None:
                await self._look()
            number = self._number
            assert self._mark is not None
            yield self._mark
            while not self.closed:
                await self._news_after(number)
                fresh = [(mark, difference) for at, mark, difference in self._news if at > number]
                missed, number = self._number - number > len(fresh), self._number
                if missed or any(interest.is_met_by(difference) for _, difference in fresh):
                    yield self._mark

    async def _news_after(self, number: int) -> None:
        async with self._told:
            await self._told.wait_for(lambda: self._number > number or self.closed)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Take a place, before the client is told that it has one; it listens a moment later."""
        self._places += 1
        try:
            yield
        finally:
            self._places -= 1

    @contextmanager
    def _listening(self) -> Iterator[None]:
        self.listeners += 1
        if self._looking is None:
            self._looking = asyncio.create_task(self._keep_looking())
        try:
            yield
        finally:
            self.listeners -= 1
            if not self.listeners and self._looking is not None:
                self._looking.cancel()
                self._looking = self._mark = None

    async def _keep_looking(self) -> None:
        try:
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                try:
                    await self._look()
                except DBAPIError as error:
                    log.warning("live pages: database: %s", first_line(error))
        finally:
            with suppress(RuntimeError):  # the loop is closing
                async with self._told:
                    self._told.notify_all()

    async def _look(self) -> None:
        mark, difference = await run_in_threadpool(self._read, self._mark)
        if mark == self._mark:
            return
        self._mark = mark
        if difference is not None:
            async with self._told:
                self._number += 1
                self._news.append((self._number, mark, difference))
                self._told.notify_all()

    def _read(self, before: Mark | None) -> tuple[Mark, Difference | None]:
        with reading(self._engine) as connection:
            mark = change_cursor.read(connection)
            changed = before is not None and mark != before
            return mark, change_cursor.difference(connection, before, mark) if before and changed else None


async def open_broadcaster(request: Request) -> AsyncIterator[Broadcaster]:
    """The application's hub, with a place in it. 503 where too many listen already: pages work without it."""
    hub: Broadcaster = request.app.state.hub
    if hub.full:
        raise HTTPException(503, "too many pages are live; this one is not")
    with hub.place():
        yield hub


@router.get("/live", response_class=EventSourceResponse)
async def live(
    hub: Annotated[Broadcaster, Depends(open_broadcaster)], wave: int | None = None, image: int | None = None
) -> AsyncIterator[ServerSentEvent]:
    """An event for each time that a page about this wave, this image, or everything, has become an old one."""
    async for mark in hub.listen(Interest(wave, image)):
        yield ServerSentEvent(event="mark", raw_data=str(mark), retry=RETRY_MILLISECONDS)
