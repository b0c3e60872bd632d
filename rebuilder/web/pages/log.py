"""The whole log of a build: its end first, searched, raw, and as a file to keep."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from msgspec import Struct
from sqlalchemy import Engine

from rebuilder.domain.errors import InfrastructureError, RequestError, UnknownError
from rebuilder.domain.log_text import PLAIN, Span, coloured, plain
from rebuilder.queries import logs
from rebuilder.queries.logs import Build
from rebuilder.store import rebuild_progress, verdicts
from rebuilder.store.database import reading
from rebuilder.web.dependencies import Database, Logs
from rebuilder.web.pages.rendering import PageRoute, link, page

LINES, HITS, LONGEST_LINE, MOST_SPANS = 500, 200, 2000, 2000
EVERY_SECONDS = 2
MOST_CHARACTERS = 64_000_000
Number = Annotated[int | None, Query(ge=1, lt=2**31)]

router = APIRouter(route_class=PageRoute)


class Hit(Struct, frozen=True):
    """A line that has what was searched for."""

    number: int
    line: str


class Window(Struct, frozen=True):
    """Some lines of a log: `first` and `last` count from 1, `total` are all."""

    spans: tuple[Span, ...]
    first: int
    last: int
    total: int


@router.get("/rebuilds/{rebuild_id:int}/log")
def whole(
    request: Request, rebuild_id: int, engine: Database, read: Logs, attempt: Number = None,
    line: Number = None, q: Annotated[str, Query(max_length=200)] = "", test: bool = False,
) -> Response:
    """A part of a log, by default its end; with `q`, the lines that have it; with `test`, that of the test."""
    build = _build(engine, rebuild_id, attempt, test)
    lines, fault = _lines(read, build)  # the builder may take its time: no connection waits for it
    with reading(engine) as connection:
        return page(
            request, "log.html", connection, live=f"wave={build.entry.wave_id}",
            entry=build.entry, build=build, attempts=rebuild_progress.attempts_of(connection, build.entry), fault=fault,
            query=q, hits=_hits(lines, q) if q else [], most=HITS, step=LINES,
            tested=verdicts.is_tested(connection, rebuild_id),
            every=EVERY_SECONDS if build.runs and line is None and not q else 0,
            window=None if q else window(lines, line),
        )


def _build(engine: Engine, rebuild_id: int, attempt: int | None, test: bool) -> Build:
    with reading(engine) as connection:
        build = logs.build_of(connection, rebuild_id, attempt, test)
    if build is None:
        raise UnknownError(f"rebuild {rebuild_id} has not been built yet")
    return build


@router.get("/rebuilds/{rebuild_id:int}/log.txt")
def raw(
    rebuild_id: int, engine: Database, read: Logs, attempt: Number = None, download: bool = False, test: bool = False
) -> Response:
    """The log as the build, or its test, wrote it; with `download`, as a file."""
    build = _build(engine, rebuild_id, attempt, test)
    of = f"{build.attempt.number}{'-test' if test else ''}"
    name = re.sub(r"[^A-Za-z0-9._-]", "-", f"{build.entry.image}-{rebuild_id}.{of}.log")
    headers = {"Content-Disposition": f'attachment; filename="{name}"'} if download else {}
    pieces = _encoded(read, build)
    return StreamingResponse(pieces, media_type="text/plain; charset=utf-8", headers=headers)


def _encoded(read: logs.Logs, build: Build) -> Iterator[bytes]:
    try:
        for text in read.text(build):
            yield text.encode(errors="replace")
    except (InfrastructureError, RequestError) as error:
        yield f"\nrebuilder: the log cannot be read: {error}\n".encode()


def _lines(read: logs.Logs, build: Build) -> tuple[list[str], str]:
    """All lines, and why there are no more where the builder does not give them."""
    texts, size = [], 0
    try:
        for text in read.text(build):
            texts.append(text)
            size += len(text)
            if size > MOST_CHARACTERS:
                return _split(texts), f"only its first {MOST_CHARACTERS} characters are shown here: take the whole file"
    except (InfrastructureError, RequestError) as error:
        return _split(texts), f"the log cannot be read: {error}"
    return _split(texts), ""


def _split(texts: list[str]) -> list[str]:
    text = "".join(texts)
    return text.removesuffix("\n").split("\n") if text else []


def window(lines: list[str], first: int | None) -> Window:
    """Some lines from that one on, else the last ones. Of a line that is too long to read it has the beginning."""
    begin = max(0, min(len(lines), first) - 1 if first else len(lines) - LINES)
    some = lines[begin : begin + LINES]
    spans = list(coloured("\n".join(line[:LONGEST_LINE] for line in some)))
    if len(spans) > MOST_SPANS:
        rest = "".join(span.text for span in spans[MOST_SPANS:])
        spans = [*spans[:MOST_SPANS], Span(rest, PLAIN)]
    return Window(tuple(spans), begin + 1 if some else 0, begin + len(some), len(lines))


def _hits(lines: list[str], words: str) -> list[Hit]:
    """The lines that have the words, in whatever case; one more than are shown tells that there are more."""
    hits, phrase = [], words.lower()
    for number, line in enumerate(lines, 1):
        text = plain(line) if "\x1b" in line or "\r" in line else line
        if phrase in text.lower():
            hits.append(Hit(number, text[:LONGEST_LINE]))
            if len(hits) > HITS:
                break
    return hits


def end_of_log(engine: Engine, read: logs.Logs, rebuild_id: int) -> Window | None:
    """The last lines of a rebuild's last build; None where the builder has them elsewhere."""
    with reading(engine) as connection:
        build = logs.build_of(connection, rebuild_id, None)
    if build is None or link(build.attempt.log):
        return None
    lines, _ = _lines(read, build)
    return window(lines[-LINES // 5 :], None) if lines else None
