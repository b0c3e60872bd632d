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
    complete = {
        key: (nvr, told) for (key, nvr), told in zip(ahead.items(), builds, strict=True)
        if told and not isinstance(told, Denied) and told["state"] == BuildState.COMPLETE
    }  # fmt: skip
    histories = hub.many([ask("queryHistory", tables=["tag_listing"], build=nvr) for nvr, _ in complete.values()])
    return {
        key: nvr
        for (key, (nvr, told)), history in zip(complete.items(), histories, strict=True)
        if _expected(told, [] if isinstance(history, Denied) else history.get("tag_listing") or [], tags[key], now)
    }


def _expected(
    build: Mapping[str, Any], operations: Sequence[Mapping[str, Any]], tags: Collection[str], now: float
) -> bool:
    """Whether the build may still come into one of the tags, by the tag operations in its history."""
    if any(operation["tag.name"] in tags for operation in operations):
        return False
    if operations and not any(operation["active"] for operation in operations):
        return False
    return now - float(build.get("completion_ts") or 0) < GRACE
