"""What one client may take of us: so long for a request, so large a body, and no place that another one needs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from rebuilder.web import problems

HEADER_SECONDS, BODY_SECONDS = 10.0, 30.0
READ_SECONDS, READ_BYTES = 20.0, 64_000  # so much of a large answer is taken within so long, or no more of it is sent
SEND_BUFFER = 128 * 1024  # in the kernel, which else takes 3 MB, and tells of what is read a megabyte at a time
UNSENT_BYTES = 128_000_000  # of all answers that wait to be taken
BODY_BYTES, ANONYMOUS_BYTES = 1_000_000, 64_000
CONNECTIONS = 500
MOST_CONNECTIONS, SETTLE_SECONDS = 3000, 0.25  # for a moment, until it is known who asks
RESERVE = 20  # further ones, which may ask for our health and nothing else
CLOSE = {"Connection": "close"}
RESERVED = "reserved"


class Protocol(H11Protocol):
    """Ends what is not asked, not sent, or not read in time.

    Where all places are taken, whoever has kept us waiting longest, with half a request or with an answer that is not
    read, gives up theirs; and where all are being answered, there is a reserve.
    """

    _timer: asyncio.TimerHandle | None = None
    _awaited: object = None
    _since = 0.0
    _unsent = 0  # bytes of the answer, while the client is slower than we are

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        others = [other for other in self.connections if isinstance(other, Protocol)]
        super().connection_made(transport)
        self._watch()
        if len(others) < CONNECTIONS:
            return
        if any(other.is_waited_for for other in others) and len(others) < MOST_CONNECTIONS:
            self.loop.call_later(SETTLE_SECONDS, self._make_room)
        elif len(others) < CONNECTIONS + RESERVE:
            self.app_state = {**self.app_state, RESERVED: True}
        else:
            self.end()

    def _make_room(self) -> None:
        """A moment later: many are accepted at once, before what the first of them sent is read."""
        if len(self.connections) > CONNECTIONS:
            others = (other for other in self.connections if isinstance(other, Protocol) and other.is_waited_for)
            if (longest := _longest(others)) is not None:
                longest.end()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """The client takes less than we send: what it has not taken is in our memory."""
        super().pause_writing()
        self._unsent = self.transport.get_write_buffer_size()
        self._watch()
        slow = [other for other in self.connections if isinstance(other, Protocol) and other._unsent]
        if sum(other.transport.get_write_buffer_size() for other in slow) > UNSENT_BYTES:
            longest = _longest(slow)
            assert longest is not None
            longest.end()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unsent = 0
        self._watch()

    @property
    def is_waited_for(self) -> bool:
        """Whether the client has still to send its request, or to take the answer."""
        return self._awaited is not None

    def end(self) -> None:
        """Let go of the client at once, and of its place."""
        self.connections.discard(self)
        self.transport.abort()

    def _watch(self) -> None:
        """Time what is awaited of the client now, from when that begins: not from its last byte."""
        cycle: Any = self.cycle
        if self._unsent:
            awaited, seconds = ("reader", cycle), READ_SECONDS
        elif cycle is None or cycle.response_complete:
            awaited, seconds = ("header", cycle), HEADER_SECONDS
        elif cycle.more_body:
            awaited, seconds = ("body", cycle), BODY_SECONDS
        else:
            self._cancel()
            return
        if awaited != self._awaited:
            self._cancel()
            self._awaited, self._since = awaited, self.loop.time()
            self._timer = self.loop.call_later(seconds, self._check_reader if self._unsent else self.end)

    def _check_reader(self) -> None:
        """Go on sending where enough was taken."""
        left = self.transport.get_write_buffer_size()
        if left > self._unsent - READ_BYTES:
            self.end()
        else:
            self._unsent = left
            self._timer = self.loop.call_later(READ_SECONDS, self._check_reader)

    def _cancel(self) -> None:
        self._awaited = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _longest(waited_for: Iterable[Protocol]) -> Protocol | None:
    """That which has kept us waiting longest."""
    return min(waited_for, key=lambda other: other._since, default=None)


class Limits:
    """Refuses bodies that are too large, before they are read or as soon as they are; plain ASGI.

    In the reserve of connections, only those who ask for our health are answered.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        if RESERVED in scope.get("state", {}) and not scope["path"].startswith("/health/"):
            return await problems.answer(503, "there are too many connections", CLOSE)(scope, receive, send)
        headers = dict(scope["headers"])
        if b"transfer-encoding" in headers and b"content-length" in headers:  # a proxy before us may believe the other
            return await problems.answer(400, "two lengths of one body", CLOSE)(scope, receive, send)
        limit = BODY_BYTES if b"authorization" in headers else ANONYMOUS_BYTES
        if _length(headers) > limit:
            return await problems.answer(413, _told(limit), CLOSE)(scope, receive, send)
        await self._app(scope, _counting(receive, limit), send)


def _counting(receive: Receive, limit: int) -> Receive:
    """The same body, as far as the limit: not all say beforehand how long theirs is."""
    left = limit

    async def counted() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise HTTPException(413, _told(limit), CLOSE)
        return message

    return counted


def _length(headers: dict[bytes, bytes]) -> int:
    text = headers.get(b"content-length", b"0")
    return int(text) if text.isdigit() else 0


def _told(limit: int) -> str:
    return f"the body is longer than {limit} bytes"
