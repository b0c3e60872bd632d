"""From what a page says to HTML: whatever comes from outside is shown as text, letter by letter."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.templating import Jinja2Templates
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from sqlalchemy import Connection

from rebuilder.domain import times
from rebuilder.domain.change import Change
from rebuilder.domain.errors import RequestError, UnknownError
from rebuilder.domain.impact import Skip
from rebuilder.domain.labels import label_of
from rebuilder.domain.reasons import brief, sentence
from rebuilder.domain.times import approx_duration, format_duration
from rebuilder.engine.why import Verdict
from rebuilder.queries.words import LEFT_OUT
from rebuilder.store import change_cursor
from rebuilder.web.strict import Strict

HERE = Path(__file__).parent.parent


def escape_controls(value: object) -> object:
    """A text as the eye can see it: what has no shape of its own, or would turn the line around, by its code."""
    if isinstance(value, Markup) or not isinstance(value, str) or value.isprintable():
        return value
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in value)


def format_time(seconds: float) -> str:
    """A moment as the terminal tells it, with the word for its zone: a page's reader may not know what Z means."""
    return f"{times.format_time(seconds).removesuffix('Z')} UTC"


def clock(seconds: float) -> str:
    """The time of a day, in UTC."""
    return f"{datetime.fromtimestamp(seconds, UTC):%H:%M}Z"


def iso(seconds: float) -> str:
    """A moment as programs read it."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def segment(text: str) -> str:
    """The text as a part of a path, whatever it has in it."""
    return quote(text, safe=":")


def link(url: str) -> str:
    """The address where it is one of the web; nothing for what a browser would run, or look for on our own site."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return url if parts.scheme in ("http", "https") and parts.netloc and url.isprintable() else ""


def koji(base: str, nvr: str) -> str:
    """Where Koji shows the build; empty where there is no Koji."""
    return f"{base}/search?match=exact&type=build&terms={quote(nvr, safe='')}" if base else ""


def bodhi(base: str, change: Change) -> str:
    """Where Bodhi shows the update that a change came with; empty where it came with none."""
    if change.url and link(change.url):
        return change.url
    return f"{base}/updates/{quote(change.update, safe='')}" if base and change.update else ""


def left_out(verdict: Verdict) -> str:
    """Why a change did not rebuild an image that carries its package."""
    return LEFT_OUT[Skip(verdict.word)].replace("{by}", verdict.by)


def filtered_by(given: Mapping[str, str], **more: str) -> str:
    """The query of a list that is filtered by this, and by more."""
    return urlencode({**given, **more})


@cache
def asset(name: str) -> str:
    """Where a static file is: by its content, so that browsers may keep it for good."""
    digest = hashlib.sha256((HERE / "static" / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?{digest}"


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=escape_controls,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    filters = (sentence, brief, clock, iso, koji, format_duration, link, approx_duration, segment, format_time)
    environment.filters |= {function.__name__: function for function in filters}
    environment.globals |= {
        "asset": asset,
        "bodhi": bodhi,
        "label_of": label_of,
        "left_out": left_out,
        "filtered_by": filtered_by,
    }
    return environment


TEMPLATES = Jinja2Templates(env=_environment())


def page(request: Request, name: str, connection: Connection, status: int = 200, **content: Any) -> Response:
    """The page of that template. It knows how far the database was when it was made, so that it can become live."""
    settings = request.app.state.settings.web
    cursor = str(change_cursor.read(connection))
    shared = {"mark": cursor, "now": time.time(), "links": settings, "live": None, "words": ""}
    answer = TEMPLATES.TemplateResponse(request, name, {**shared, **content}, status_code=status)
    answer.headers["Cache-Control"] = "no-cache"
    return answer


class Missing(UnknownError):
    """What a page should be about is not there."""


class PageRoute(Strict):
    """A page: where what it should be about is not there, or the request is wrong, a page says so."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_or_say(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestError as error:
                return error_page(request, 404, str(error))
            except RequestValidationError as error:
                first = error.errors()[0]
                return error_page(request, 422, f"{first['loc'][-1]}: {first['msg']}")

        return handle_or_say


def error_page(request: Request, status: int, what: str) -> Response:
    """The page that says what is wrong."""
    content = {"mark": "", "now": time.time(), "live": None, "status": status, "what": what, "words": ""}
    return TEMPLATES.TemplateResponse(request, "sorry.html", content, status_code=status)
