"""How long a set of ordered builds takes on so many slots, and what to start first."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from rebuilder.domain.change import Severity, most_severe
from rebuilder.domain.image import Image

DEFAULT_SECONDS = 300.0
SEVERITY_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds until all is built on `slots` slots, the longest chain of builds, and the sum of all builds."""

    makespan_s: float
    critical_path: tuple[str, ...]
    work_s: float
    slots: int


@dataclass(frozen=True, slots=True)
class Job:
    """One build of a plan: the names of those it waits for, and its length in seconds."""

    name: str
    after: tuple[str, ...]
    seconds: float


def durations(images: Iterable[Image], measured: Mapping[str, float] | None = None) -> dict[str, float]:
    """The expected seconds of each image's build.

    Its own history (`measured`, by name:stream) where it has one, else what its inventory says, else the median of
    its stream's histories, else DEFAULT_SECONDS.
    """
    measured = measured or {}
    histories: dict[str, list[float]] = {}
    for key, seconds in measured.items():
        histories.setdefault(key.rpartition(":")[2], []).append(seconds)
    usual = {stream: median(found) for stream, found in histories.items()}
    return {
        image.key: measured.get(image.key) or image.estimate or usual.get(image.stream) or DEFAULT_SECONDS
        for image in images
    }


def paths_below(jobs: Sequence[Job]) -> list[float]:
    """For each job, given parents first, the seconds of the longest chain that begins with it."""
    return _paths_below(jobs, _children(jobs))


def rank(created_at: float, severity: Severity, path_seconds: float) -> float:
    """A rebuild's place in the queue, lowest first.

    Each step of severity is worth a day of waiting, and each second of builds below a second. As the rank never
    changes while time goes on, nothing starves: what is created four days and a path later always comes after.
    """
    return created_at - severity.weight * SEVERITY_SECONDS - path_seconds


def inherited(jobs: Sequence[Job], severities: Sequence[Severity]) -> list[Severity]:
    """The severity of each job, given parents first, and of what waits below it: the highest counts."""
    worst = list(severities)
    for at, below in reversed(list(enumerate(_children(jobs)))):
        worst[at] = most_severe((worst[at], *(worst[child] for child in below)))
    return worst


def _children(jobs: Sequence[Job]) -> list[list[int]]:
    """The places of the jobs that wait for each job."""
    place = {job.name: at for at, job in enumerate(jobs)}
    children: list[list[int]] = [[] for _ in jobs]
    for at, job in enumerate(jobs):
        for parent in job.after:
            children[place[parent]].append(at)
    return children


def _paths_below(jobs: Sequence[Job], children: Sequence[Sequence[int]]) -> list[float]:
    below = [job.seconds for job in jobs]
    for at in range(len(jobs) - 1, -1, -1):
        if children[at]:
            below[at] += max([below[child] for child in children[at]])
    return below


def lower_bound(jobs: Sequence[Job], slots: int) -> float:
    """The least seconds that any order takes: the longest path, or all work on all slots."""
    return max(max(paths_below(jobs), default=0.0), sum(job.seconds for job in jobs) / slots)


def estimate(jobs: Sequence[Job], slots: int) -> Estimate:
    """What building these jobs, given parents first, takes when the longest chain goes first."""
    children = _children(jobs)
    below = _paths_below(jobs, children)
    total = max(_ends(jobs, children, slots, [-path for path in below]), default=0.0)
    return Estimate(total, _critical_path(jobs, children, below), sum([job.seconds for job in jobs]), slots)


def makespan(
    jobs: Sequence[Job], slots: int, ranks: Sequence[float] | None, seconds: Sequence[float] | None = None
) -> float:
    """Seconds that list scheduling takes: whenever a slot is free, the ready job of the lowest rank starts.

    Without ranks, the one that was ready first. `seconds` are the true lengths, where the jobs' are estimates.
    """
    return max(_ends(jobs, _children(jobs), slots, ranks, seconds), default=0.0)


def ends(jobs: Sequence[Job], slots: int, ranks: Sequence[float]) -> list[float]:
    """The seconds after which each job, given parents first, is done by the same rule."""
    return _ends(jobs, _children(jobs), slots, ranks)


def _ends(
    jobs: Sequence[Job],
    children: Sequence[Sequence[int]],
    slots: int,
    ranks: Sequence[float] | None,
    seconds: Sequence[float] | None = None,
) -> list[float]:
    missing = [len(job.after) for job in jobs]
    takes = [job.seconds for job in jobs] if seconds is None else seconds
    ready = [(ranks[at] if ranks else 0.0, at) for at, count in enumerate(missing) if not count]
    heapq.heapify(ready)
    running: list[tuple[float, int]] = []
    found = [0.0] * len(jobs)
    now = 0.0
    while ready or running:
        while ready and len(running) < slots:
            _, at = heapq.heappop(ready)
            heapq.heappush(running, (now + takes[at], at))
        now, done = heapq.heappop(running)
        found[done] = now
        for child in children[done]:
            missing[child] -= 1
            if not missing[child]:
                heapq.heappush(ready, (ranks[child] if ranks else now, child))
    return found


def _critical_path(
    jobs: Sequence[Job], children: Sequence[Sequence[int]], below: Sequence[float]
) -> tuple[str, ...]:
    """The names along the longest chain; among equals the first as given."""
    path: list[str] = []
    choice: Sequence[int] = [at for at, job in enumerate(jobs) if not job.after]
    while choice:
        longest = max(choice, key=below.__getitem__)
        path.append(jobs[longest].name)
        choice = children[longest]
    return tuple(path)
