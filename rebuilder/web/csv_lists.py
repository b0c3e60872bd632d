"""Lists as CSV, for spreadsheets: the same rows as in JSON, under the names of their properties."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextvars import ContextVar
from functools import wraps
from typing import Any, get_args, get_origin

from fastapi import Request, Response
from msgspec import Struct
from pydantic import BaseModel

from rebuilder.queries.coverage import Coverage, ImageCoverage
from rebuilder.queries.queue import Queue
from rebuilder.web.strict import Strict

MEDIA_TYPE = "text/csv"
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would carry out
DESCRIBED: dict[int | str, dict[str, Any]] = {
    200: {"content": {MEDIA_TYPE: {"schema": {"type": "string"}, "example": "id,state\r\n7,failed\r\n"}}}
}


_WRITES = "writes_csv"
_ASKED: ContextVar[tuple[Request, Table] | None] = ContextVar("asked", default=None)


class Listed(Strict):
    """A list that is answered as CSV to those who want that; the next part is then in the header `Link`."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint if hasattr(endpoint, _WRITES) else _or_csv(endpoint), **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_as_asked(request: Request) -> Response:
            token = _ASKED.set((request, table_of(self.response_model)) if wants_csv(request) else None)
            try:
                return await handle(request)
            finally:
                _ASKED.reset(token)

        return handle_as_asked


def _or_csv(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, which writes its answer as CSV where that is asked for: row by row, with no JSON of it all."""

    @wraps(endpoint)
    def answered(*given: Any, **named: Any) -> Any:
        answer, csv_request = endpoint(*given, **named), _ASKED.get()
        return answer if csv_request is None else _response(answer, *csv_request)

    setattr(answered, _WRITES, True)
    return answered


def _response(answer: Any, request: Request, table: Table) -> Response:
    headers = {"Vary": "Accept", "Content-Disposition": f'inline; filename="{_file_name(request)}"'}
    if (cursor := getattr(answer, "next", None)) is not None:
        following = request.url.include_query_params(cursor=cursor)
        headers["Link"] = f'<{following.path}?{following.query}>; rel="next"'
    return Response(written(table.columns, table.rows(answer)), 200, headers, MEDIA_TYPE)


def wants_csv(request: Request) -> bool:
    """Whether the answer should be CSV: `format` says so, else what the client accepts."""
    said = request.query_params.get("format")
    return said == "csv" or (said is None and MEDIA_TYPE in request.headers.get("accept", ""))


def written(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """The rows as CSV (RFC 4180), with a line of names."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(columns)
    writer.writerows([_cell(row[name]) for name in columns] for row in rows)
    return file.getvalue()


def _cell(value: Any) -> str:
    """Nothing for null; what a list has, a blank between; a text that no spreadsheet takes for a formula."""
    if value is None:
        return ""
    if isinstance(value, list) and not any(isinstance(one, (list, dict)) for one in value):
        return _cell(" ".join(map(str, value)))
    text = value if isinstance(value, str) else json.dumps(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(FORMULA) else text


Rows = Iterable[Mapping[str, Any]]


class Table(Struct, frozen=True):
    """How an answer is a table: its columns, and its rows, each as in JSON, which may have more."""

    columns: tuple[str, ...]
    rows: Callable[[Any], Rows]


def _rows(items: Iterable[BaseModel]) -> Rows:
    return (item.model_dump(mode="json") for item in items)


def _rows_of_coverage(answer: Coverage) -> Rows:
    for fix in answer.fixes:
        fields = fix.model_dump(mode="json", include=set(_OF_A_FIX))
        yield from ({**fields, **image} for image in _rows(fix.images))


def _rows_of_queue(answer: Queue) -> Rows:
    return ({"since": None, **rebuild} for rebuild in _rows((*answer.running, *answer.queued)))


_OF_A_FIX = ("source", "evr", "stream", "severity", "update")
_OF_THE_QUEUE = ("image", "wave", "state", "severity", "attempt", "reason", "waits", "until", "since")
_TABLES: Mapping[Any, Table] = {
    Coverage: Table((*_OF_A_FIX, *ImageCoverage.model_fields), _rows_of_coverage),
    Queue: Table(_OF_THE_QUEUE, _rows_of_queue),
}


def table_of(model: Any) -> Table:
    """How the answers of a route with that response are tables: a page of items, a plain list, or one of _TABLES."""
    if model in _TABLES:
        return _TABLES[model]
    if get_origin(model) is tuple:
        return Table(tuple(get_args(model)[0].model_fields), _rows)
    (item,) = get_args(model.model_fields["items"].annotation)
    return Table(tuple(item.model_fields), lambda answer: _rows(answer.items))


def _file_name(request: Request) -> str:
    return f"{request.url.path.rpartition('/')[2]}.csv"
