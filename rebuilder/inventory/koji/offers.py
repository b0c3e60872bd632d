"""What Koji offers: source builds by their names, and the newest of each package in a tag."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rebuilder.domain.rpm import EVR, SourceBuild
from rebuilder.inventory.koji.build import BuildState
from rebuilder.inventory.koji.hub import Denied, Hub, ask

NOT_INSTALLED = frozenset({"src", "nosrc"})


@dataclass(frozen=True, slots=True)
class Resolved:
    """A build as Koji has it, with the names of its binary RPMs; one without any is no build of RPMs."""

    build: SourceBuild
    complete: bool
    rpms: tuple[str, ...] = ()


def resolve(hub: Hub, nvrs: Collection[str]) -> dict[str, Resolved]:
    """What Koji knows of these builds; those that it does not know are left out. Raises InfrastructureError."""
    told = {nvr: build for nvr, build in _asked(hub, "getBuild", nvrs) if build}
    complete = {nvr: build["id"] for nvr, build in told.items() if build["state"] == BuildState.COMPLETE}
    rpms = dict(zip(complete, (answer for _, answer in _asked(hub, "listBuildRPMs", complete.values())), strict=True))
    return {
        nvr: Resolved(_source_build(build), nvr in complete, _names(rpms.get(nvr) or ()))
        for nvr, build in told.items()
    }


def _asked(hub: Hub, method: str, names: Collection[Any]) -> Iterator[tuple[Any, Any]]:
    answers = hub.many([ask(method, name) for name in names])
    return ((name, None if isinstance(told, Denied) else told) for name, told in zip(names, answers, strict=True))


def _names(rpms: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(sorted({str(rpm["name"]) for rpm in rpms if rpm["arch"] not in NOT_INSTALLED}))


def newest(hub: Hub, tag: str, packages: Collection[str]) -> Iterator[SourceBuild]:
    """The newest build of each of these packages in the tag, as far as it has any. Raises InfrastructureError."""
    for answer in hub.many([ask("getLatestBuilds", tag, package=package) for package in packages]):
        for build in () if isinstance(answer, Denied) else answer:
            yield _source_build(build)


def _source_build(build: Mapping[str, Any]) -> SourceBuild:
    """Koji knows every epoch: null is 0."""
    evr = EVR(int(build["epoch"] or 0), str(build["version"]), str(build["release"]))
    return SourceBuild(str(build["name"]), evr)
