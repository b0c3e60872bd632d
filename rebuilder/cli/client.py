"""Whom the verbs that answer questions ask: the database or, with --server, a server. The answers are the same."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

from rebuilder.cli.context import Context

if TYPE_CHECKING:  # each takes a while to load, and a verb asks for one or two
    from sqlalchemy import Connection

    from rebuilder.domain.plan import Plan
    from rebuilder.engine.plan_preview import AskedUpdates
    from rebuilder.queries import coverage, graph_view, image_records, logs, pull_specs, rebuilds, status
    from rebuilder.queries import why as explained

F = TypeVar("F", bound=Callable[..., Any])

server_option: Callable[[F], F] = click.option(
    "--server", metavar="URL", help="Ask the status server there instead of the database."
)


class Source(Protocol):
    """Answers. Raises UnknownError for what is not there, UnreachableError where no server answers."""

    def status(self) -> status.Status:
        """What needs attention, what is under way, and whether the engine runs."""

    def image(self, name: str) -> image_records.ImageInFull:
        """All about one image, `name:stream` or a name that is unique. Raises UnknownError."""

    def pull_specs(self, stream: str) -> Sequence[pull_specs.PullSpecs]:
        """What to pull of each image of the stream; of all streams where it is empty."""

    def coverage(self, name: str) -> coverage.Coverage:
        """How far an update is: of one source build, update alias or CVE. Raises UnknownError."""

    def wave(self, wave_id: int) -> rebuilds.Wave:
        """A wave with its rebuilds. Raises UnknownError."""

    def story(self, wave_id: int) -> Sequence[rebuilds.Step]:
        """All that happened in a wave, in order. Raises UnknownError."""

    def why(self, image: str) -> explained.Why:
        """Why the image was rebuilt last, or was not. Raises UnknownError."""

    def would(self, image: str, updates: AskedUpdates) -> explained.WhatIf:
        """Whether these updates would rebuild the image, and why. Raises UnknownError."""

    def plan(self, updates: AskedUpdates, descendants: str | None) -> Plan:
        """What these updates would rebuild; only what is built on `descendants` where that is given."""

    def plan_on(self, base: str, descendants: str | None) -> Plan:
        """What a build of an external parent would rebuild, as `plan` says it. Its registry is asked."""

    def log(self, image: str, offset: int, test: bool = False) -> logs.LogChunk:
        """The log of the image's last build or, with `test`, of its test, from this character on."""

    def rebuild_log(
        self, rebuild_id: int, attempt: int | None, offset: int, test: bool = False
    ) -> logs.LogChunk:
        """The log of an attempt (from 1; None: the last) of a rebuild, from this character on."""

    def graph(self, request: graph_view.GraphRequest) -> graph_view.GraphView:
        """The layers that are asked for."""

    def close(self) -> None:
        """End what connects it."""


@contextmanager
def source(context: Context, server: str | None) -> Iterator[Source]:
    """Whom to ask inside the block, and to show what it answers. Raises RequestError for what is no URL."""
    if server is None:
        with closing(Database(context)) as database:
            yield database
        return
    from rebuilder.cli.server import Server  # httpx takes a tenth of a second, and the database does without

    with closing(Server(server)) as client, client.answering():
        yield client


class Database:
    """Reads the answers from the database."""

    def __init__(self, context: Context) -> None:
        self._engine, self._settings = context.stored, context.settings
        self._opened = ExitStack()

    def _reading(self) -> AbstractContextManager[Connection]:
        from rebuilder.store.database import reading  # a plan of a document does without

        return reading(self._engine)

    @cached_property
    def _logs(self) -> logs.Logs:
        from rebuilder.queries import logs

        return self._opened.enter_context(closing(logs.Logs(self._engine, self._settings)))

    def status(self) -> status.Status:
        from rebuilder.queries import status

        with self._reading() as connection:
            return status.read(connection, self._settings, time.time())

    def image(self, name: str) -> image_records.ImageInFull:
        from rebuilder.queries import image_records

        with self._reading() as connection:
            return image_records.image_in_full(connection, name, self._settings, time.time())

    def pull_specs(self, stream: str) -> Sequence[pull_specs.PullSpecs]:
        from rebuilder.queries import names, pull_specs
        from rebuilder.store.filters import Filter

        with self._reading() as connection:
            names.check_stream(connection, stream, self._settings)
            return pull_specs.read(connection, Filter(stream=stream), self._settings)

    def coverage(self, name: str) -> coverage.Coverage:
        from rebuilder.queries import coverage

        with self._reading() as connection:
            return coverage.read(connection, name, self._settings, time.time())

    def wave(self, wave_id: int) -> rebuilds.Wave:
        from rebuilder.queries import rebuilds

        with self._reading() as connection:
            return rebuilds.wave(connection, wave_id, self._settings, time.time())

    def story(self, wave_id: int) -> Sequence[rebuilds.Step]:
        from rebuilder.queries import rebuilds

        with self._reading() as connection:
            return rebuilds.story(connection, wave_id)

    def why(self, image: str) -> explained.Why:
        from rebuilder.queries import why as explained

        with self._reading() as connection:
            return explained.read(connection, image, self._settings, time.time())

    def would(self, image: str, updates: AskedUpdates) -> explained.WhatIf:
        from rebuilder.queries import why as explained

        with self._reading() as connection:
            return explained.what_if(connection, image, updates, self._settings, time.time())

    def plan(self, updates: AskedUpdates, descendants: str | None) -> Plan:
        from rebuilder.queries import plan_preview

        with self._reading() as connection:
            terms = self._settings.with_descendants(descendants)
            return plan_preview.draft(connection, updates, terms, time.time()).plan

    def plan_on(self, base: str, descendants: str | None) -> Plan:
        from rebuilder.engine import base_preview

        terms = self._settings.with_descendants(descendants)
        return base_preview.draft(self._engine, base, terms, time.time()).plan

    def log(self, image: str, offset: int, test: bool = False) -> logs.LogChunk:
        return self._logs.read(image, offset, test)

    def rebuild_log(self, rebuild_id: int, attempt: int | None, offset: int, test: bool = False) -> logs.LogChunk:
        return self._logs.of_rebuild(rebuild_id, attempt, offset, test)

    def close(self) -> None:
        self._opened.close()

    def graph(self, request: graph_view.GraphRequest) -> graph_view.GraphView:
        from rebuilder.queries import graph_view

        with self._reading() as connection:
            return graph_view.read(connection, request, self._settings, time.time())
