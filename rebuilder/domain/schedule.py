"""How long a set of ordered builds takes on so many slots, and what to start first."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from rebuilder.domain.image import Image

DEFAULT_SECONDS = 300.0


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


def paths_below(jobs: Sequence[Job]) -> dict[str, float]:
    """For each job, given parents first, the seconds of the longest chain that begins with it."""
    below: dict[str, float] = {}
    longest_child: dict[str, float] = {}
    for job in reversed(jobs):
        below[job.name] = job.seconds + longest_child.get(job.name, 0.0)
        for parent in job.after:
            longest_child[parent] = max(longest_child.get(parent, 0.0), below[job.name])
    return below


def makespan(jobs: Sequence[Job], slots: int, rank: Callable[[Job], float]) -> float:
    """Seconds that list scheduling takes: whenever a slot is free, the ready job of the lowest rank starts."""
    place = {job.name: at for at, job in enumerate(jobs)}
    missing = [len(job.after) for job in jobs]
    children: list[list[int]] = [[] for _ in jobs]
    for at, job in enumerate(jobs):
        for parent in job.after:
            children[place[parent]].append(at)
    ready = [(rank(job), at) for at, job in enumerate(jobs) if not job.after]
    heapq.heapify(ready)
    running: list[tuple[float, int]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < slots:
            _, at = heapq.heappop(ready)
            heapq.heappush(running, (now + jobs[at].seconds, at))
        now, done = heapq.heappop(running)
        for child in children[done]:
            missing[child] -= 1
            if not missing[child]:
                heapq.heappush(ready, (rank(jobs[child]), child))
    return now


def estimate(jobs: Sequence[Job], slots: int) -> Estimate:
    """What building these jobs, given parents first, takes when the longest chain goes first."""
    below = paths_below(jobs)
    total = makespan(jobs, slots, lambda job: -below[job.name])
    return Estimate(total, critical_path(jobs, below), sum(job.seconds for job in jobs), slots)


def critical_path(jobs: Sequence[Job], below: Mapping[str, float]) -> tuple[str, ...]:
    """The names along the longest chain; among equals the first as given."""
    path: list[str] = []
    choice = [job for job in jobs if not job.after]
    children: dict[str, list[Job]] = {}
    for job in jobs:
        for parent in job.after:
            children.setdefault(parent, []).append(job)
    while choice:
        longest = max(choice, key=lambda job: below[job.name])
        path.append(longest.name)
        choice = children.get(longest.name, [])
    return tuple(path)
