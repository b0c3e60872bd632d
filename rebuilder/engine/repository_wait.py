"""Ends the wait of changes for a repository: when it is made anew, and at once where none is known to be made.

Koji makes repositories of build tags, which take from the tags that updates come into: a message names the build tag.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection

from rebuilder.engine.backoff import Backoff, Failure
from rebuilder.engine.calls import Answer, Kind
from rebuilder.engine.context import Context
from rebuilder.inventory.koji.repositories import Repositories
from rebuilder.store import changes
from rebuilder.store.database import reading

SUBJECT = "repositories"
LONGEST_PAUSE = 300.0
Source = tuple[str, str]  # a stream, and the tag that a change came into


@dataclass(frozen=True, slots=True)
class _Found:
    """The build tags that take from each source, and the tags that each build tag takes from, by stream."""

    waited_for: Mapping[Source, Sequence[str]]
    done: Mapping[str, Mapping[str, frozenset[str]]]


class RepositoryWaits:
    """The changes that wait for a repository."""

    kinds = woken_by = frozenset({Kind.REPOSITORY})

    def __init__(self, context: Context) -> None:
        self._context = context
        self._repositories = Repositories(context.hub, context.settings.streams)
        self._known: dict[Source, tuple[str, ...]] = {}  # the build tags whose repositories take from each
        self._done: set[str] = set()  # build tags whose repositories were made anew, and no answer yet
        self._failures = Backoff(context.settings.koji.poll_seconds, LONGEST_PAUSE)

    @property
    def failure(self) -> Failure | None:
        """Why it is not known which repositories are waited for."""
        return self._failures.of(SUBJECT)

    @property
    def waited_for(self) -> Mapping[Source, tuple[str, ...]]:
        """The build tags whose repositories are waited for."""
        return self._known

    def made(self, build_tags: set[str]) -> None:
        """The repositories of these build tags were made anew."""
        self._done |= build_tags

    def ask(self) -> None:
        context = self._context
        with reading(context.engine) as connection:
            waiting = changes.waiting_for_repositories(connection)
        self._known = {source: found for source, found in self._known.items() if source in waiting}
        if not waiting:
            self._done.clear()
            return
        new = waiting - self._known.keys()
        if (new or self._done) and not self._failures.resting(SUBJECT, context.clock.monotonic()):
            context.calls.start(Kind.REPOSITORY, SUBJECT, partial(_look_up, self._repositories, new, set(self._done)))

    def record(self, connection: Connection, answers: Sequence[Answer]) -> int:
        ended = 0
        for answer in answers:
            if answer.error is not None:
                self._failures.failed(SUBJECT, str(answer.error), self._context.clock.monotonic())
                continue
            self._failures.succeeded(SUBJECT)
            found: _Found = answer.value
            for (stream, tag), build_tags in found.waited_for.items():
                if build_tags:
                    self._known[stream, tag] = tuple(build_tags)
                else:
                    ended += changes.repository_made(connection, stream, {tag})
            for build_tag, streams in found.done.items():
                self._done.discard(build_tag)
                for stream, tags in streams.items():
                    ended += changes.repository_made(connection, stream, tags)
        return ended


def _look_up(repositories: Repositories, sources: set[Source], build_tags: set[str]) -> _Found:
    """Raises InfrastructureError."""
    return _Found(
        {source: repositories.waited_for(*source) for source in sources},
        {build_tag: repositories.done(build_tag) for build_tag in build_tags},
    )
