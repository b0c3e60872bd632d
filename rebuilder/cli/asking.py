"""Whom the verbs that answer questions ask: the database or, with --server, a server. The answers are the same."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import quote

import click

from rebuilder.answers import drawings, logs, rebuilds, status
from rebuilder.answers import why as explained
from rebuilder.answers.answer import Answer
from rebuilder.cli.context import Context
from rebuilder.domain.change import Severity
from rebuilder.domain.errors import RequestError, UnknownError, UnreachableError
from rebuilder.store.database import reading

if TYPE_CHECKING:
    import httpx

SECONDS = 30.0
SHOWN = 200  # characters of an answer that is none
A = TypeVar("A", bound=Answer)
F = TypeVar("F", bound=Callable[..., Any])

server_option: Callable[[F], F] = click.option(
    "--server", metavar="URL", help="Ask the status server there instead of the database."
)


class Source(Protocol):
    """Answers. Raises UnknownError for what is not there, UnreachableError where nobody can be asked."""

    def status(self) -> status.Status: ...

    def wave(self, wave_id: int) -> rebuilds.Wave: ...

    def story(self, wave_id: int) -> Sequence[rebuilds.Step]: ...

    def why(self, image: str) -> explained.Why: ...

    def would(self, image: str, updates: Sequence[str], stream: str | None, severity: Severity) -> explained.Would: ...

    def log(self, image: str, offset: int) -> logs.Part: ...

    def drawn(self, asked: drawings.Asked) -> drawings.Drawn: ...

    def close(self) -> None: ...


def source(context: Context, server: str | None) -> Source:
    """Where to ask. Raises RequestError for what is no URL."""
    if server is None:
        return Database(context)
    return Server(server)


class Database:
    """Reads the answers from the database."""

    def __init__(self, context: Context) -> None:
        self._engine, self._settings = context.engine, context.settings
        self._logs = logs.Logs(self._engine, self._settings)

    def status(self) -> status.Status:
        with reading(self._engine) as connection:
            return status.read(connection, self._settings, time.time())

    def wave(self, wave_id: int) -> rebuilds.Wave:
        with reading(self._engine) as connection:
            return rebuilds.wave(connection, wave_id, self._settings, time.time())

    def story(self, wave_id: int) -> Sequence[rebuilds.Step]:
        with reading(self._engine) as connection:
            return rebuilds.story(connection, wave_id)

    def why(self, image: str) -> explained.Why:
        with reading(self._engine) as connection:
            return explained.read(connection, image, self._settings, time.time())

    def would(self, image: str, updates: Sequence[str], stream: str | None, severity: Severity) -> explained.Would:
        with reading(self._engine) as connection:
            return explained.would(connection, image, updates, stream, severity, self._settings, time.time())

    def log(self, image: str, offset: int) -> logs.Part:
        return self._logs.read(image, offset)

    def close(self) -> None:
        self._logs.close()

    def drawn(self, asked: drawings.Asked) -> drawings.Drawn:
        with reading(self._engine) as connection:
            return drawings.read(connection, asked, self._settings, time.time())


class Server:
    """Asks a server for the answers."""

    def __init__(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise RequestError(f"--server {url}: must start with http:// or https://")
        import httpx  # a tenth of a second, which whoever asks the database need not wait for

        self._url = url.rstrip("/")
        self._client = httpx.Client(timeout=SECONDS, follow_redirects=True)

    def status(self) -> status.Status:
        return self._read(status.Status, "status")

    def wave(self, wave_id: int) -> rebuilds.Wave:
        return self._read(rebuilds.Wave, f"waves/{wave_id}")

    def story(self, wave_id: int) -> Sequence[rebuilds.Step]:
        return [rebuilds.Step.model_validate(step) for step in self._ask(f"waves/{wave_id}/story", {})]

    def why(self, image: str) -> explained.Why:
        return self._read(explained.Why, f"images/{quote(image)}/why")

    def would(self, image: str, updates: Sequence[str], stream: str | None, severity: Severity) -> explained.Would:
        asked = {"update": list(updates), "severity": str(severity), **({"stream": stream} if stream else {})}
        return self._read(explained.Would, f"images/{quote(image)}/why", asked)

    def log(self, image: str, offset: int) -> logs.Part:
        return self._read(logs.Part, f"images/{quote(image)}/log", {"offset": offset})

    def close(self) -> None:
        self._client.close()

    def drawn(self, asked: drawings.Asked) -> drawings.Drawn:
        wanted = {"image": asked.image, "wave": asked.wave, "update": list(asked.updates), "stream": asked.stream}
        given = {key: value for key, value in wanted.items() if value}
        return drawings.drawn_by(self._ask("graph", {**given, "severity": str(asked.severity)}))

    def _read(self, answer: type[A], path: str, asked: Mapping[str, Any] | None = None) -> A:
        return answer.model_validate(self._ask(path, asked or {}))

    def _ask(self, path: str, asked: Mapping[str, Any]) -> Any:
        import httpx

        try:
            response = self._client.get(f"{self._url}/api/v1/{path}", params=dict(asked))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise UnreachableError(f"{self._url} cannot be reached: {error or type(error).__name__}") from None
        told = _json(response)
        if response.status_code == 200 and told is not None:
            return told
        detail = told.get("detail") if isinstance(told, dict) else None
        if response.status_code == 404 and detail not in (None, "Not Found"):
            raise UnknownError(str(detail))
        if response.status_code in (400, 422) and detail:
            raise RequestError(str(detail))
        text = detail or f"its answer is none of rebuilder's: {response.text[:SHOWN]}"
        raise UnreachableError(f"{self._url} answers {response.status_code}: {text}")


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None
