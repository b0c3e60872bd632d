"""Changes and the graph give a plan: the images to rebuild in order, and why; the images left out, and why.

Pure: the same inputs always give the same plan.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from rebuilder.domain.change import Change, most_severe
from rebuilder.domain.graph import Graph
from rebuilder.domain.image import Inventory, ParentKind
from rebuilder.domain.rpm import Rpm, is_stale, newest
from rebuilder.domain.schedule import DEFAULT_SECONDS, Estimate, Job, estimate

AS_BASE = frozenset({ParentKind.BASE})


class Skip(StrEnum):
    """Why an image that carries a changed package, or may carry it, is left out."""

    OTHER_STREAM = "other-stream"
    ALREADY_CURRENT = "already-current"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an image is rebuilt.

    `rpm`: it carries `installed`, and `change` offers a newer build; `inherited_from` is the layer that brought the
    RPM in, empty where the image itself does. `parent`: it descends from an image that is rebuilt (`inherited_from`).
    """

    kind: str
    change: Change
    installed: str = ""
    inherited_from: str = ""


@dataclass(frozen=True, slots=True)
class PlannedRebuild:
    """An image to rebuild after its `depends_on`, `level` steps below a root of the plan."""

    image: str
    depends_on: tuple[str, ...]
    level: int
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What accepting these changes would do, parents first."""

    changes: tuple[Change, ...]
    rebuilds: tuple[PlannedRebuild, ...]
    skipped: tuple[tuple[str, Skip], ...]
    untouched: int
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class Carried:
    """What of the changed packages is in the images' current builds.

    `rpms` has, for each image that carries any, its RPMs of the changed source packages; `unknown` names the images
    whose current build nobody could read.
    """

    rpms: Mapping[str, Sequence[Rpm]]
    unknown: frozenset[str] = frozenset()

    @classmethod
    def of(cls, inventory: Inventory, sources: Container[str]) -> Carried:
        """The same, of an inventory that is not in the store."""
        found: dict[str, list[Rpm]] = {}
        read = set()
        for build in inventory.builds:
            if build.manifest is not None:
                read.add(build.image)
                rpms = sorted((r for r in build.manifest.rpms if r.source in sources), key=lambda r: r.nevra)
                if rpms:
                    found[build.image] = rpms
        return cls(found, frozenset(image.key for image in inventory.images if image.key not in read))


def make_plan(
    graph: Graph,
    carried: Carried,
    changes: Iterable[Change],
    *,
    descendants: str = "affected",
    slots: int = 1,
    seconds: Mapping[str, float] | None = None,
) -> Plan:
    """Plan the rebuilds that take up `changes`. `seconds` has the estimated length of each image's build."""
    wanted = _merged(changes, carried)
    offered = {(change.build.name, change.stream): change for change in wanted}
    sources = {change.build.name for change in wanted}
    origins = _origins(graph, carried)
    reasons: dict[str, tuple[Reason, ...]] = {}
    skipped: dict[str, Skip] = {}
    for key, rpms in carried.rpms.items():
        stream = graph.image(key).stream
        found = tuple(
            Reason("rpm", change, rpm.nevra, origins[key, rpm])
            for rpm in rpms
            if (change := offered.get((rpm.source, stream))) and is_stale(rpm, change.build.evr)
        )
        if found:
            reasons[key] = found
        elif any((rpm.source, stream) in offered for rpm in rpms):
            skipped[key] = Skip.ALREADY_CURRENT
        elif any(rpm.source in sources for rpm in rpms):
            skipped[key] = Skip.OTHER_STREAM
    streams = {change.stream for change in wanted}
    skipped.update((key, Skip.UNKNOWN) for key in carried.unknown if graph.image(key).stream in streams)
    if descendants == "all":
        _add_descendants(graph, reasons, skipped)
    rebuilds = _ordered(graph, reasons)
    left_out = tuple((key, skipped[key]) for key in graph.in_order(skipped))
    untouched = len(graph) - len(rebuilds) - len(left_out)
    return Plan(wanted, rebuilds, left_out, untouched, _estimate(graph, rebuilds, slots, seconds or {}))


def _merged(changes: Iterable[Change], carried: Carried) -> tuple[Change, ...]:
    """One change for each source package and stream: the newest build, with the severity of the worst.

    An epoch that no message told is taken from what is installed, where all that is installed agrees.
    """
    groups: dict[tuple[str, str], list[Change]] = {}
    for change in changes:
        groups.setdefault((change.build.name, change.stream), []).append(change)
    epochs: dict[str, set[int]] = {}
    for rpms in carried.rpms.values():
        for rpm in rpms:
            epochs.setdefault(rpm.source, set()).add(rpm.epoch)
    merged = []
    for (source, _), group in groups.items():
        evr = newest(change.build.evr for change in group)
        first = next(change for change in group if change.build.evr == evr)
        if len(installed := epochs.get(source, set())) == 1:
            evr = evr.within(next(iter(installed)))
        severity = most_severe(tuple(change.severity for change in group))
        merged.append(replace(first, build=replace(first.build, evr=evr), severity=severity))
    return tuple(merged)


def _origins(graph: Graph, carried: Carried) -> dict[tuple[str, Rpm], str]:
    """For each image and RPM the layer that brought the RPM in: an ancestor's name, or "" for the image itself."""
    origins: dict[tuple[str, Rpm], str] = {}
    for key in graph.in_order(carried.rpms):
        bases = [parent for parent, kind in graph.parents(key) if kind is ParentKind.BASE]
        for rpm in carried.rpms[key]:
            base = next((parent for parent in bases if (parent, rpm) in origins), "")
            origins[key, rpm] = (origins[base, rpm] or base) if base else ""
    return origins


def _add_descendants(graph: Graph, reasons: dict[str, tuple[Reason, ...]], skipped: dict[str, Skip]) -> None:
    """Take in everything built on what is rebuilt: each with the first such parent and that one's first change."""
    for key in graph.in_order(graph.descendants(reasons, AS_BASE)):
        if key not in reasons:
            parent = next(parent for parent, kind in graph.parents(key) if kind in AS_BASE and parent in reasons)
            reasons[key] = (Reason("parent", reasons[parent][0].change, inherited_from=parent),)
            skipped.pop(key, None)


def _ordered(graph: Graph, reasons: Mapping[str, tuple[Reason, ...]]) -> tuple[PlannedRebuild, ...]:
    levels: dict[str, int] = {}
    rebuilds = []
    for key in graph.in_order(reasons):
        after = tuple(parent for parent, _ in graph.parents(key) if parent in reasons)
        levels[key] = max((levels[parent] + 1 for parent in after), default=0)
        rebuilds.append(PlannedRebuild(key, after, levels[key], reasons[key]))
    return tuple(rebuilds)


def _estimate(
    graph: Graph, rebuilds: Sequence[PlannedRebuild], slots: int, seconds: Mapping[str, float]
) -> Estimate:
    jobs = [
        Job(
            rebuild.image,
            rebuild.depends_on,
            seconds.get(rebuild.image) or graph.image(rebuild.image).estimate or DEFAULT_SECONDS,
        )
        for rebuild in rebuilds
    ]
    return estimate(jobs, slots)
