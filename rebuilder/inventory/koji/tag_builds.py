"""What Koji offers: source builds by their names, and the newest of each package in a tag."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from rebuilder.domain.rpm import EVR, SourceBuild
from rebuilder.inventory.koji.build import BuildState
from rebuilder.inventory.koji.session import Denied, KojiSession, ask

NOT_INSTALLED = frozenset({"src", "nosrc"})


class Resolved(Struct, frozen=True):
    """A build as Koji has it, with the names of its binary RPMs; one without any is no build of RPMs."""

    build: SourceBuild
    complete: bool
    rpms: tuple[str, ...] = ()


def resolve(hub: KojiSession, nvrs: Collection[str]) -> dict[str, Resolved]:
    """What Koji knows of these builds; those that it does not know are left out. Raises InfrastructureError."""
    builds = {nvr: build for nvr, build in _asked(hub, "getBuild", nvrs) if build}
    complete = {nvr: build["id"] for nvr, build in builds.items() if build["state"] == BuildState.COMPLETE}
    rpms = dict(zip(complete, (answer for _, answer in _asked(hub, "listBuildRPMs", complete.values())), strict=True))
    return {
        nvr: Resolved(_source_build(build), nvr in complete, _names(rpms.get(nvr) or ()))
        for nvr, build in builds.items()
    }


def _asked(hub: KojiSession, method: str, names: Collection[Any]) -> Iterator[tuple[Any, Any]]:
    answers = hub.many([ask(method, name) for name in names])
    return ((name, None if isinstance(answer, Denied) else answer) for name, answer in zip(names, answers, strict=True))


def _names(rpms: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(sorted({str(rpm["name"]) for rpm in rpms if rpm["arch"] not in NOT_INSTALLED}))


def newest(hub: KojiSession, tag: str, packages: Collection[str]) -> Iterator[SourceBuild]:
    """The newest build of each of these packages in the tag, as far as it has any. Raises InfrastructureError.

    All packages of the tag are asked for at once: one call for each takes the hub far longer. Its images are left out,
    which may have the names of packages.
    """
    try:
        images = {int(row["build_id"]) for row in latest(hub, "getLatestBuilds", tag, type="image")}
        rows = latest(hub, "getLatestBuilds", tag)
    except Denied:
        return
    names = frozenset(packages)
    for build in rows:
        if str(build["name"]) in names and int(build["build_id"]) not in images:
            yield _source_build(build)


def latest(hub: KojiSession, method: str, tag: str, **named: Any) -> Sequence[Mapping[str, Any]]:
    """The latest builds of a tag, without drafts, which hide the builds that were tagged before them.

    Hubs that have no drafts do not know the option that leaves them out. Raises Denied and InfrastructureError.
    """
    rows: Sequence[Mapping[str, Any]] = hub.call(method, tag, **named)
    if any(row.get("draft") for row in rows):
        rows = hub.call(method, tag, draft=False, **named)
    return rows


def _source_build(build: Mapping[str, Any]) -> SourceBuild:
    """Koji knows every epoch: null is 0."""
    evr = EVR(int(build["epoch"] or 0), str(build["version"]), str(build["release"]))
    return SourceBuild(str(build["name"]), evr)
