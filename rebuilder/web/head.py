"""HEAD, which monitors and proxies ask: the answer to GET without its body, which the server leaves out."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

ENDLESS = b"text/event-stream"


class Head:
    """Has HEAD answered as GET; plain ASGI."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            return await self._app(scope, receive, send)
        begun = asyncio.Event()

        async def send_head(message: Message) -> None:
            """An answer without end is over once it has begun: it would go on with nothing in it."""
            if not begun.is_set():
                await send(message)
            if message["type"] == "http.response.start" and _is_endless(message):
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                begun.set()

        answer = asyncio.ensure_future(self._app({**scope, "method": "GET"}, receive, send_head))
        ended = asyncio.ensure_future(begun.wait())
        try:
            await asyncio.wait((answer, ended), return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
            if not answer.done():
                answer.cancel()
                await asyncio.wait((answer,))
        if not answer.cancelled():
            answer.result()


def _is_endless(start: Message) -> bool:
    return any(name.lower() == b"content-type" and value.startswith(ENDLESS) for name, value in start["headers"])
