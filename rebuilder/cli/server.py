"""A status server, as a client that does not trust it: it may be anybody's, or none.

Every answer is bounded in size and, from the first look for the server's address to the last byte, in time.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar
from urllib.parse import quote

import click
import httpx
from pydantic import TypeAdapter, ValidationError

from rebuilder.domain.errors import RequestError, UnknownError, UnreachableError
from rebuilder.engine.plan_preview import AskedUpdates
from rebuilder.queries import coverage, graph_view, image_records, logs, plan, pull_specs, rebuilds, status
from rebuilder.queries import why as explained

if TYPE_CHECKING:
    from rebuilder.domain.plan import Plan
    from rebuilder.queries.graph_view import GraphRequest

SECONDS = 30.0
MOST_BYTES = 16_000_000  # the graph of a hundred thousand images has 13 million
MOST_REDIRECTS = 5
LONGEST_LOG = 250_000_000  # characters
SHOWN = 200  # characters of an answer that is none
LONGEST_NUMBER = 18  # digits
AUTHORITIES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
Answer = TypeVar("Answer")


@cache
def _trusted(_file: str | None, _folder: str | None) -> ssl.SSLContext:
    """The authorities that these variables name, or else those of certifi: to read them takes longer than an answer."""
    return httpx.create_ssl_context()


class Server:
    """Asks a server for the answers."""

    def __init__(self, url: str) -> None:
        """Raises RequestError for what is no URL."""
        if not url.startswith(("http://", "https://")):
            raise RequestError(f"--server {url}: must start with http:// or https://")
        self._url = url.rstrip("/")
        self._runner = asyncio.Runner()
        self._client = httpx.AsyncClient(
            timeout=SECONDS, headers={"Accept": "application/json", "Accept-Encoding": "identity"},
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            verify=_trusted(*map(os.environ.get, AUTHORITIES)),
        )  # fmt: skip

    def status(self) -> status.Status:
        return self._read(status.Status, "status")

    def image(self, name: str) -> image_records.ImageInFull:
        return self._read(image_records.ImageInFull, f"images/{quote(name, safe='')}")

    def pull_specs(self, stream: str) -> Sequence[pull_specs.PullSpecs]:
        return self._read(tuple[pull_specs.PullSpecs, ...], "pull-specs", {"stream": stream} if stream else {})

    def coverage(self, name: str) -> coverage.Coverage:
        return self._read(coverage.Coverage, f"coverage/{quote(name, safe='')}")

    def wave(self, wave_id: int) -> rebuilds.Wave:
        return self._read(rebuilds.Wave, f"waves/{wave_id}")

    def story(self, wave_id: int) -> Sequence[rebuilds.Step]:
        return self._read(tuple[rebuilds.Step, ...], f"waves/{wave_id}/story")

    def why(self, image: str) -> explained.Why:
        return self._read(explained.Why, f"images/{quote(image)}/why")

    def would(self, image: str, updates: AskedUpdates) -> explained.WhatIf:
        return self._read(explained.WhatIf, f"images/{quote(image)}/why", _query(updates))

    def plan(self, updates: AskedUpdates, descendants: str | None) -> Plan:
        about = {"stream": updates.stream, "descendants": descendants}
        options = {key: value for key, value in about.items() if value}
        body = {"updates": list(updates.names), "severity": str(updates.severity), **options}
        return plan.read(self._read(plan.WrittenPlan, "plan", body=body))

    def plan_on(self, base: str, descendants: str | None) -> Plan:
        terms = {"descendants": descendants} if descendants else {}
        return plan.read(self._read(plan.WrittenPlan, "plan", {"base": base, **terms}))

    def log(self, image: str, offset: int, test: bool = False) -> logs.LogChunk:
        return self._part(f"images/{quote(image)}/log", offset, test=test)

    def rebuild_log(self, rebuild_id: int, attempt: int | None, offset: int, test: bool = False) -> logs.LogChunk:
        query = {"attempt": attempt} if attempt else {}
        return self._part(f"rebuilds/{rebuild_id}/log", offset, **query, test=test)

    def _part(self, path: str, offset: int, *, test: bool, **query: int) -> logs.LogChunk:
        of_test = {"test": "true"} if test else {}  # an older server does not know it
        part = self._read(logs.LogChunk, path, {"offset": offset, **query, **of_test})
        if part.next != offset + len(part.text):
            self._unexpected("the log does not go on where it ended")
        if part.next > LONGEST_LOG:
            self._unexpected(f"a log of more than {LONGEST_LOG} characters")
        return part

    def graph(self, request: GraphRequest) -> graph_view.GraphView:
        about = {key: value for key, value in (("image", request.image), ("wave", request.wave)) if value}
        drawing = self._read(graph_view.Drawing, "graph", {**about, **_query(request.updates)})
        try:
            return graph_view.graph_of_source(drawing)
        except RequestError as error:
            self._unexpected(str(error))

    def close(self) -> None:
        """Let go of the connections."""
        self._runner.run(self._client.aclose())
        self._runner.close()

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Inside the block its answers are read and shown. What cannot be shown is its fault, whatever that ends in."""
        try:
            yield
        except (RequestError, UnreachableError, click.ClickException, OSError):
            raise
        except Exception as error:
            self._unexpected(f"{type(error).__name__}: {error}")

    def _unexpected(self, why: str) -> NoReturn:
        raise UnreachableError(f"{self._url} gives an unexpected answer ({why[:SHOWN]}): is it a rebuilder server?")

    def _read(
        self, kind: type[Answer], path: str, query: Mapping[str, Any] | None = None, body: Any = None
    ) -> Answer:
        answer = self._ask(path, query or {}, body)
        try:
            return TypeAdapter(kind).validate_python(answer)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            self._unexpected(f"{'.'.join(map(str, first['loc']))}: {first['msg']}")

    def _ask(self, path: str, query: Mapping[str, Any], sent: Any) -> Any:
        """What it answers to a GET, or to a POST of what is `sent`."""
        method, about = ("GET", {"params": dict(query)}) if sent is None else ("POST", {"json": sent})
        request = self._client.build_request(method, f"{self._url}/api/v1/{path}", **about)
        try:
            code, body = self._runner.run(self._send(request))
        except TimeoutError:
            raise UnreachableError(f"{self._url} cannot be reached: no whole answer within {SECONDS:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise UnreachableError(f"{self._url} cannot be reached: {error or type(error).__name__}") from None
        answer = self._json(body, code)
        if code != 200:
            self._refused(code, answer, body)
        return answer

    def _refused(self, code: int, answer: Any, body: bytes) -> NoReturn:
        """Raises what the server said: rebuilder says no in `detail`; what has none comes from something else."""
        detail = answer.get("detail") if isinstance(answer, dict) else None
        if code == 404 and isinstance(detail, str) and detail != "Not Found":
            raise UnknownError(detail)
        if code in (400, 422) and isinstance(detail, str):
            raise RequestError(detail)
        raise UnreachableError(f"{self._url} answers {code}: {str(detail)[:SHOWN] if detail else _beginning(body)}")

    def _json(self, body: bytes, code: int) -> Any:
        """The answer, of no numbers but such as a database has. An error need not have any: None, then."""
        try:
            return json.loads(body.decode(), parse_int=_number, parse_float=_fraction, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            if code != 200:
                return None
            deep = isinstance(error, RecursionError)
            self._unexpected(f"{'nested too deeply' if deep else 'not JSON'}: {_beginning(body)}")

    async def _send(self, first: httpx.Request) -> tuple[int, bytes]:
        """Status and body. Raises TimeoutError, httpx's errors, UnreachableError."""
        async with asyncio.timeout(SECONDS):
            request: httpx.Request | None = first
            for _ in range(MOST_REDIRECTS + 1):
                assert request is not None
                code, body, request = await self._hop(request)
                if request is None:
                    return code, body
        self._unexpected(f"more than {MOST_REDIRECTS} redirects")

    async def _hop(self, request: httpx.Request) -> tuple[int, bytes, httpx.Request | None]:
        """Status and body; or the request to which it leads: the body is left unread then, as it may have no end."""
        async with aclosing(await self._client.send(request, stream=True)) as response:
            if response.has_redirect_location:
                return response.status_code, b"", response.next_request
            return response.status_code, await self._body(response), None

    async def _body(self, response: httpx.Response) -> bytes:
        """As it comes: nothing is unpacked, as a thousand bytes may become a million."""
        if (encoding := response.headers.get("content-encoding", "identity")) != "identity":
            self._unexpected(f"content encoding {encoding}, which was not asked for")
        content = bytearray()
        async for part in response.aiter_raw():
            content += part
            if len(content) > MOST_BYTES:
                self._unexpected(f"more than {MOST_BYTES} bytes")
        return bytes(content)


def _beginning(body: bytes) -> str:
    return body[:SHOWN].decode(errors="replace")


def _number(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise ValueError("a number of too many digits")
    return int(text)


def _fraction(text: str) -> float:
    number = float(text)
    if abs(number) >= 10**LONGEST_NUMBER:
        raise ValueError("a number that is too large")
    return number


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")


def _query(updates: AskedUpdates) -> dict[str, Any]:
    """The updates as the API is asked about them."""
    stream = {"stream": updates.stream} if updates.stream else {}
    return {"update": list(updates.names), **stream, "severity": str(updates.severity)}
