"""What the builds of a plan would take under other rules of what starts next, and with other times than expected."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct

from rebuilder.domain.change import Severity
from rebuilder.domain.schedule import JobGraph, inherited, lower_bound, makespan, paths_below, rank


class Policy(StrEnum):
    """What starts next. `critical-path` is what the engine does; the others are there to compare it with."""

    CRITICAL_PATH = "critical-path"
    FIFO = "fifo"  # what is ready first
    LEVELS = "levels"  # a level begins when all of the one above is done


class Simulation(Struct, frozen=True):
    """Seconds until all was built, and the least that any rule takes: the longest path, or all work on all slots."""

    makespan_s: float
    lower_bound_s: float
    builds: int
    slots: int
    policy: Policy

    @property
    def ratio(self) -> float:
        """The makespan by the lower bound, at least 1.0; 1.0 where nothing is to be built."""
        return self.makespan_s / self.lower_bound_s if self.lower_bound_s else 1.0


def simulate(
    jobs: JobGraph,
    severities: Sequence[Severity],
    slots: int,
    policy: Policy,
    factors: Sequence[float] | None = None,
) -> Simulation:
    """Build these jobs, numbered parents first. The true lengths, unknown before, are the estimates times `factors`."""
    seconds = [length * factor for length, factor in zip(jobs.seconds, factors or [1.0] * len(jobs), strict=True)]
    bound = lower_bound(JobGraph(jobs.after, seconds), slots)
    return Simulation(_makespan(jobs, severities, seconds, slots, policy), bound, len(jobs), slots, policy)


def _makespan(
    jobs: JobGraph, severities: Sequence[Severity], seconds: Sequence[float], slots: int, policy: Policy
) -> float:
    match policy:
        case Policy.CRITICAL_PATH:
            worst = inherited(jobs, severities)
            ranks = [rank(0.0, *both) for both in zip(worst, paths_below(jobs), strict=True)]
            return makespan(jobs, slots, ranks, seconds)
        case Policy.FIFO:
            return makespan(jobs, slots, None, seconds)
        case Policy.LEVELS:
            levels = [JobGraph([()] * len(level), [seconds[at] for at in level]) for level in _levels(jobs)]
            return sum(makespan(level, slots, None) for level in levels)


def _levels(jobs: JobGraph) -> list[list[int]]:
    levels: list[int] = []
    by_level: list[list[int]] = []
    for at, above in enumerate(jobs.after):
        level = max((levels[parent] + 1 for parent in above), default=0)
        levels.append(level)
        by_level.extend([] for _ in range(level + 1 - len(by_level)))
        by_level[level].append(at)
    return by_level
