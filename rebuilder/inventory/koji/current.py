"""Which build is an image's current one: the tag's, or a newer one of ours that the tag has not seen yet."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from rebuilder.inventory.koji.build import BuildState
from rebuilder.inventory.koji.session import Denied, KojiSession, ask

GRACE = 14 * 86400.0  # seconds until a build that no tag of the stream ever had is not expected there any more


def not_tagged_yet(
    hub: KojiSession, ahead: Mapping[str, str], tags: Mapping[str, Collection[str]], now: float
) -> dict[str, str]:
    """Those of the builds (NVRs by image) that are newer than their tag's, and current before the tag has them.

    `tags` has the tags of each image's stream. A build that one of them had is not expected: it was untagged, or
    another one was tagged after it, which is how a bad build is rolled back. Nor is one that was taken out of all
    tags, or that waits for too long. Raises InfrastructureError.
    """
    builds = hub.many([ask("getBuild", nvr) for nvr in ahead.values()])
    complete = {key: build for key, build in zip(ahead, builds, strict=True) if _is_complete(build)}
    histories = hub.many([ask("queryHistory", tables=["tag_listing"], build=ahead[key]) for key in complete])
    current = {}
    for (key, build), history in zip(complete.items(), histories, strict=True):
        operations = [] if isinstance(history, Denied) else history.get("tag_listing") or []
        if _expected(build, operations, tags[key], now):
            current[key] = ahead[key]
    return current


def _is_complete(build: Any) -> bool:
    return bool(build) and not isinstance(build, Denied) and build["state"] == BuildState.COMPLETE


def _expected(
    build: Mapping[str, Any], operations: Sequence[Mapping[str, Any]], tags: Collection[str], now: float
) -> bool:
    """Whether the build may still come into one of the tags, by the tag operations in its history."""
    if any(operation["tag.name"] in tags for operation in operations):
        return False
    if operations and not any(operation["active"] for operation in operations):
        return False
    return now - float(build.get("completion_ts") or 0) < GRACE
