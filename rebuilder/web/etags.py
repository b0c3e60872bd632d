"""ETags: an answer that the client has already is not sent again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response

from rebuilder.web.csv_lists import Listed
from rebuilder.web.strict import Strict


class Tagged(Strict):
    """A route whose answers carry an ETag of their content, and are 304 where the client names that."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def tagged(request: Request) -> Response:
            response = await handle(request)
            if request.method not in ("GET", "HEAD") or response.status_code != 200:
                return response
            tag = f'W/"{hashlib.sha256(response.body).hexdigest()[:32]}"'
            response.headers["ETag"] = tag
            response.headers["Cache-Control"] = "no-cache"
            tags = [item.strip() for item in request.headers.get("if-none-match", "").split(",")]
            if tag not in tags:
                return response
            headers = {"ETag": tag, "Cache-Control": "no-cache"}
            return Response(status_code=304, headers=headers, background=response.background)

        return tagged


class TaggedList(Tagged, Listed):
    """A list, as JSON or CSV, with an ETag."""
