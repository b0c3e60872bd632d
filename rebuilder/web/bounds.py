"""What one client may take of us: so long for a request, so large a body, and no place that another one needs."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from rebuilder.web import problems

HEADER_SECONDS, BODY_SECONDS = 10.0, 30.0
BODY_BYTES, ANONYMOUS_BYTES = 1_000_000, 64_000
CONNECTIONS = 500
RESERVE = 20  # further ones, which may ask for our health and nothing else
CLOSE = {"Connection": "close"}
RESERVED = "reserved"


class Protocol(H11Protocol):
    """Ends what is not asked, or not sent, in time.

    Where all places are taken, whoever has waited longest with a request that is not whole gives up theirs; and where
    all are being answered, there is a reserve.
    """

    _timer: asyncio.TimerHandle | None = None
    _awaited: object = None
    _since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        others = [other for other in self.connections if isinstance(other, Protocol)]
        super().connection_made(transport)
        self._watch()
        if len(others) < CONNECTIONS:
            return
        idle = min((other for other in others if other.is_waited_for), key=lambda other: other._since, default=None)
        if idle is not None:
            idle.end()
        elif len(others) < CONNECTIONS + RESERVE:
            self.app_state = {**self.app_state, RESERVED: True}
        else:
            self.end()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    @property
    def is_waited_for(self) -> bool:
        """Whether the client has still to send its request, or the rest of it."""
        return self._awaited is not None

    def end(self) -> None:
        """Let go of the client at once, and of its place."""
        self.connections.discard(self)
        self.transport.abort()

    def _watch(self) -> None:
        """Time what is awaited of the client now, from when that begins: not from its last byte."""
        cycle: Any = self.cycle
        if cycle is None or cycle.response_complete:
            awaited, seconds = ("header", cycle), HEADER_SECONDS
        elif cycle.more_body:
            awaited, seconds = ("body", cycle), BODY_SECONDS
        else:
            self._cancel()
            return
        if awaited != self._awaited:
            self._cancel()
            self._awaited, self._since = awaited, self.loop.time()
            self._timer = self.loop.call_later(seconds, self.end)

    def _cancel(self) -> None:
        self._awaited = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Bounds:
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
