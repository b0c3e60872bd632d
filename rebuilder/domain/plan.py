"""Changes and the graph give a plan: the images to rebuild in order, and why; the images left out, and why.

Pure: the same inputs always give the same plan.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, overload

from msgspec import Struct

from rebuilder.domain.assessment import assess
from rebuilder.domain.change import Change, Severity, most_severe
from rebuilder.domain.graph import Graph, Subgraph
from rebuilder.domain.impact import InstalledPackages, PlanOptions, Reason, Skipped, merge
from rebuilder.domain.policy import Action
from rebuilder.domain.schedule import Estimate, JobGraph, durations, estimate

Why = TypeVar("Why")


@dataclass(frozen=True, slots=True)  # no struct: the API describes and writes it as it is
class PlannedRebuild(Generic[Why]):
    """An image to rebuild after its `depends_on`, `level` steps below a root of the plan.

    Its reasons are those of the core, or in another form, as scripts read them.
    """

    image: str
    depends_on: tuple[str, ...]
    level: int
    reasons: tuple[Why, ...]

    @property
    def severity(self: PlannedRebuild[Reason]) -> Severity:
        """That of the most severe of its changes."""
        return most_severe(tuple(reason.change.severity for reason in self.reasons))

    @property
    def externals(self: PlannedRebuild[Reason]) -> set[str]:
        """The external parents that what it is to bring in comes from."""
        return {reason.external for reason in self.reasons if reason.external}


@dataclass(frozen=True, slots=True)  # no struct: a sequence
class Rebuilds(Sequence[PlannedRebuild[Reason]]):
    """Images to rebuild, numbered parents first: the numbers of those that each one waits for, its level and reasons.

    Kept in columns, as plans are large and mostly gone through once: each rebuild is made when it is looked at.
    """

    names: Sequence[str]
    after: Sequence[Sequence[int]]
    levels: Sequence[int]
    reasons: Sequence[tuple[Reason, ...]]

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[PlannedRebuild[Reason]]:
        return map(self._made, self.names, self.after, self.levels, self.reasons)

    @overload
    def __getitem__(self, at: int) -> PlannedRebuild[Reason]: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[PlannedRebuild[Reason]]: ...
    def __getitem__(self, at: int | slice) -> PlannedRebuild[Reason] | Sequence[PlannedRebuild[Reason]]:
        if isinstance(at, slice):
            return [self[number] for number in range(len(self))[at]]
        return self._made(self.names[at], self.after[at], self.levels[at], self.reasons[at])

    def _made(self, name: str, above: Sequence[int], level: int, why: tuple[Reason, ...]) -> PlannedRebuild[Reason]:
        return PlannedRebuild(name, tuple([self.names[parent] for parent in above]), level, why)


class RuleOutcome(Struct, frozen=True):
    """A rule that had a say: it left out `images`, or wants `change` to be approved first."""

    rule: str
    action: Action
    images: int = 0
    change: Change | None = None


class Plan(Struct, frozen=True):
    """What accepting these changes would do, parents first."""

    changes: tuple[Change, ...]
    rebuilds: Rebuilds
    skipped: tuple[Skipped, ...]
    untouched: int
    applied: tuple[RuleOutcome, ...]
    estimate: Estimate

    def jobs(self, seconds: Mapping[str, float]) -> JobGraph:
        """Its builds, numbered as `rebuilds` are; `seconds` has the expected length of each image's."""
        return JobGraph(self.rebuilds.after, array("d", map(seconds.__getitem__, self.rebuilds.names)))

    @property
    def unapproved(self) -> tuple[Change, ...]:
        """The changes that a rule wants an operator to approve."""
        return tuple(applied.change for applied in self.applied if applied.change is not None)


class Draft(Struct, frozen=True):
    """A plan that is not accepted yet, and the expected seconds of each image's build."""

    plan: Plan
    seconds: Mapping[str, float]


def make_plan(
    graph: Graph,
    carried: InstalledPackages,
    changes: Iterable[Change],
    terms: PlanOptions | None = None,
    *,
    slots: int = 1,
    seconds: Mapping[str, float] | None = None,
) -> Plan:
    """Plan the rebuilds that take up `changes`. `seconds` has the expected length of each image's build.

    The graph may leave out images that no change can reach: `untouched` counts only those that are in it.
    """
    merged = merge(changes, carried)
    impact = assess(graph, carried, merged, terms or PlanOptions())
    skipped = tuple(impact.skipped[key] for key in graph.in_order(impact.skipped))
    applied = [RuleOutcome(rule, Action.DENY, images) for rule, images in sorted(impact.denied.items())]
    applied += [RuleOutcome(rule.name, Action.APPROVE, change=change) for change, rule in impact.asked.items()]
    expected = seconds if seconds is not None else durations(graph.images)
    untouched = len(graph) - len(impact.reasons) - len(skipped)
    rebuilds, course = _rebuilds(impact.affected, impact.reasons), _estimate(impact.affected, expected, slots)
    return Plan(merged, rebuilds, skipped, untouched, tuple(applied), course)


def plan_by_hand(
    graph: Graph, images: Sequence[str], descendants: bool, *, slots: int, seconds: Mapping[str, float],
    unbuilt: Collection[str] = (),
) -> Plan:
    """Plan to rebuild these images, and with `descendants` all that is built on them, for no change's sake.

    What they are built on and is `unbuilt` yet comes first. Raises RequestError for an unknown image.
    """
    roots = {graph.image(image).key for image in images}
    targets = roots | set(graph.descendants(images) if descendants else ())
    layers = graph.layers(targets | graph.ancestors(targets).intersection(unbuilt))
    untouched = len(graph) - len(layers.names)
    return Plan((), _rebuilds(layers, [()] * len(layers.names)), (), untouched, (), _estimate(layers, seconds, slots))


def _rebuilds(layers: Subgraph, reasons: Sequence[tuple[Reason, ...]]) -> Rebuilds:
    return Rebuilds(layers.names, layers.after, layers.levels, reasons)


def _estimate(layers: Subgraph, seconds: Mapping[str, float], slots: int) -> Estimate:
    jobs = JobGraph(layers.after, array("d", layers.each(seconds)))
    return estimate(layers.names, jobs, slots)
