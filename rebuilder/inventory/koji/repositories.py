"""Which repositories a tagged build comes into. Koji makes them of build tags, which inherit the tags of updates."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from rebuilder.config import StreamSettings
from rebuilder.domain.errors import InfrastructureError
from rebuilder.inventory.koji.session import Denied, KojiSession, ask

KEPT_SECONDS = 3600.0  # tags are seldom given other parents


class Repositories:
    """The build tags that the streams' images are built with, and the tags that each of them takes from.

    They are the stream's `repo_tags`, of which each takes from all tags of the stream; else the build tag of its
    `koji_target`, of which Koji knows what it inherits. A stream with neither has none: nothing is waited for.
    Threads may share it.
    """

    def __init__(
        self,
        hub: KojiSession | None,
        streams: Mapping[str, StreamSettings],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hub = hub
        self._streams = streams
        self._clock = clock
        self._lock = threading.Lock()  # of what follows; never held during a call
        self._kept: dict[tuple[str, str], tuple[float, Any]] = {}

    def waited_for(self, stream: str, tag: str) -> tuple[str, ...]:
        """The build tags of the stream whose repositories are made anew when the tag gets a build.

        Raises InfrastructureError where Koji is unreachable and was not before.
        """
        return tuple(build_tag for build_tag, tags in self._of(stream).items() if tag in tags)

    def done(self, build_tag: str) -> dict[str, frozenset[str]]:
        """By stream, the tags whose builds are in the repository that was just made of this build tag.

        Raises InfrastructureError where Koji is unreachable and was not before.
        """
        by_stream = {stream: self._of(stream).get(build_tag) for stream in self._streams}
        return {stream: tags for stream, tags in by_stream.items() if tags}

    def _of(self, stream: str) -> dict[str, frozenset[str]]:
        """By build tag of the stream, the tags that it takes from."""
        fed = self._streams.get(stream)
        if fed is None:
            return {}
        if fed.repo_tags:
            return {build_tag: frozenset({build_tag, *fed.koji_tags}) for build_tag in fed.repo_tags}
        if self._hub is None or not fed.koji_target:
            return {}
        target = self._asked(self._hub, "getBuildTarget", fed.koji_target)
        if not target:
            return {}
        build_tag = str(target["build_tag_name"])
        links = self._asked(self._hub, "getFullInheritance", build_tag) or ()
        return {build_tag: frozenset({build_tag, *(str(link["name"]) for link in links)})}

    def _asked(self, hub: KojiSession, method: str, name: str) -> Any:
        """The answer, at most KEPT_SECONDS old, or older while the hub is away; None for an unknown name."""
        with self._lock:
            since, kept = self._kept.get((method, name), (None, None))
        if since is not None and self._clock() - since < KEPT_SECONDS:
            return kept
        try:
            kept = hub.call(method, name)
        except Denied:
            kept = None
        except InfrastructureError:
            if since is None:
                raise
            return kept
        with self._lock:
            self._kept[method, name] = self._clock(), kept
        return kept


def still_tagged(hub: KojiSession, nvrs: Iterable[str], tags: Collection[str]) -> dict[str, bool]:
    """Whether each of these builds is in one of the tags now; not where Koji does not know it.

    A build that leaves one tag has often come into another one of its stream just before. Raises InfrastructureError.
    """
    builds = list(dict.fromkeys(nvrs))
    answers = zip(builds, hub.many([ask("listTags", build=nvr, perms=False) for nvr in builds]), strict=True)
    return {
        nvr: not isinstance(answer, Denied) and any(str(row["name"]) in tags for row in answer)
        for nvr, answer in answers
    }
