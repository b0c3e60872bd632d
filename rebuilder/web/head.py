"""HEAD, which monitors and proxies ask: the answer to GET without its body, which the server leaves out."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

ENDLESS = ("/live", "/api/v1/events")  # its answer would never end, and have nothing in it


class Head:
    """Has HEAD answered as GET; plain ASGI."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "HEAD" and scope["path"] not in ENDLESS:
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send)
