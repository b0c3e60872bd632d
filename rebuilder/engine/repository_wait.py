"""Ends the wait of changes for a repository: when it is made anew, and at once where none is known to be made.

Koji makes repositories of build tags, which take from the tags that updates come into: a message names the build tag.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection

from rebuilder.engine.calls import Kind
from rebuilder.engine.context import Context
from rebuilder.engine.koji_question import KojiQuestion
from rebuilder.inventory.koji.repositories import Repositories
from rebuilder.store import pending_changes

Source = tuple[str, str]  # a stream, and the tag that a change came into


class _Found(Struct, frozen=True):
    """The build tags that take from each source, and the tags that each build tag takes from, by stream."""

    waited_for: Mapping[Source, Sequence[str]]
    done: Mapping[str, Mapping[str, frozenset[str]]]


class RepositoryWaits(KojiQuestion):
    """The changes that wait for a repository. Without a Koji the configuration says for which."""

    kinds = woken_by = frozenset({Kind.REPOSITORY})
    needs_hub = False

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._repositories = Repositories(context.hub, context.settings.streams)
        self._known: dict[Source, tuple[str, ...]] = {}  # the build tags whose repositories take from each
        self._done: set[str] = set()  # build tags whose repositories were made anew, and no answer yet

    @property
    def waited_for(self) -> Mapping[Source, tuple[str, ...]]:
        """The build tags whose repositories are waited for."""
        return self._known

    def made(self, build_tags: set[str]) -> None:
        """The repositories of these build tags were made anew."""
        self._done |= build_tags

    def _question(self, connection: Connection) -> Callable[[], Any] | None:
        waiting = pending_changes.waiting_for_repositories(connection)
        self._known = {source: tags for source, tags in self._known.items() if source in waiting}
        if not waiting:
            self._done.clear()
            return None
        new = waiting - self._known.keys()
        return partial(_look_up, self._repositories, new, set(self._done)) if new or self._done else None

    def _take(self, connection: Connection, answered: _Found) -> int:
        ended = 0
        for (stream, tag), build_tags in answered.waited_for.items():
            if build_tags:
                self._known[stream, tag] = tuple(build_tags)
            else:
                ended += pending_changes.repository_made(connection, stream, {tag})
        for build_tag, streams in answered.done.items():
            self._done.discard(build_tag)
            for stream, tags in streams.items():
                ended += pending_changes.repository_made(connection, stream, tags)
        return ended


def _look_up(repositories: Repositories, sources: set[Source], build_tags: set[str]) -> _Found:
    """Raises InfrastructureError."""
    return _Found(
        {source: repositories.waited_for(*source) for source in sources},
        {build_tag: repositories.done(build_tag) for build_tag in build_tags},
    )
