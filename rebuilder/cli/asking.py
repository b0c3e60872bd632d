"""Whom the verbs that answer questions ask: the database or, with --server, a server. The answers are the same."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, Protocol, TypeVar

import click

from rebuilder.answers import drawings, logs, rebuilds, status
from rebuilder.answers import why as explained
from rebuilder.cli.context import Context
from rebuilder.domain.change import Severity
from rebuilder.store.database import reading

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


@contextmanager
def source(context: Context, server: str | None) -> Iterator[Source]:
    """Whom to ask inside the block, and to show what it answers. Raises RequestError for what is no URL."""
    if server is None:
        with closing(Database(context)) as database:
            yield database
        return
    from rebuilder.cli.server import Server  # httpx takes a tenth of a second, and the database does without

    with closing(Server(server)) as asked, asked.answering():
        yield asked


class Database:
    """Reads the answers from the database."""

    def __init__(self, context: Context) -> None:
        self._engine, self._settings = context.stored, context.settings
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
