"""How long a set of ordered builds takes on so many slots, and what to start first."""

from __future__ import annotations

import heapq
from array import array
from collections import deque
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


@dataclass(frozen=True)
class JobGraph:
    """Builds, numbered parents first: the numbers of those that each one waits for, and its length in seconds."""

    after: Sequence[Sequence[int]]
    seconds: Sequence[float]

    def __len__(self) -> int:
        return len(self.seconds)


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


def paths_below(jobs: JobGraph) -> Sequence[float]:
    """For each job the seconds of the longest chain that begins with it."""
    below = array("d", [0.0]) * len(jobs)
    for at in range(len(jobs) - 1, -1, -1):
        below[at] = path = below[at] + jobs.seconds[at]
        for parent in jobs.after[at]:
            if below[parent] < path:
                below[parent] = path
    return below


def rank(created_at: float, severity: Severity, path_seconds: float) -> float:
    """A rebuild's place in the queue, lowest first.

    Each step of severity is worth a day of waiting, and each second of builds below a second. As the rank never
    changes while time goes on, nothing starves: what is created four days and a path later always comes after.
    """
    return created_at - severity.weight * SEVERITY_SECONDS - path_seconds


def inherited(jobs: JobGraph, severities: Sequence[Severity]) -> list[Severity]:
    """The severity of each job and of what waits below it: the highest counts."""
    worst = list(severities)
    for at in range(len(jobs) - 1, -1, -1):
        for parent in jobs.after[at]:
            worst[parent] = most_severe((worst[parent], worst[at]))
    return worst


def paths_above(jobs: JobGraph) -> Sequence[float]:
    """For each job the seconds of the longest chain that ends with it."""
    above = array("d", [0.0]) * len(jobs)
    for at, parents in enumerate(jobs.after):
        above[at] = max((above[parent] for parent in parents), default=0.0) + jobs.seconds[at]
    return above


def lower_bound(jobs: JobGraph, slots: int) -> float:
    """The least seconds that any order can take on so many slots.

    On unlimited slots each job runs as early as it can. What runs after a moment there cannot run before it on fewer
    slots, so the rest of the work, on all slots, comes after that moment. The same holds backwards, from the end.
    (After Fernandez and Bussell, "Bounds on the Number of Processors and Time for Multiprocessor Optimal Schedules".)
    """
    return max(_rest_after(jobs, paths, slots) for paths in (paths_above(jobs), paths_below(jobs)))


def _rest_after(jobs: JobGraph, ends: Sequence[float], slots: int) -> float:
    """The greatest sum of a moment and of the work after it on all slots, with each job ended at its `ends`."""
    steps = [(end, -1) for end in ends]
    steps += [(end - seconds, 1) for end, seconds in zip(ends, jobs.seconds, strict=True)]
    rest, running, before, greatest = sum(jobs.seconds), 0, 0.0, 0.0
    for moment, step in sorted(steps):
        rest -= running * (moment - before)
        greatest = max(greatest, moment + max(rest, 0.0) / slots)
        running, before = running + step, moment
    return greatest


def estimate(names: Sequence[str], jobs: JobGraph, slots: int) -> Estimate:
    """What building these takes when the longest chain goes first."""
    below = paths_below(jobs)
    total = makespan(jobs, slots, array("d", [-path for path in below]))
    return Estimate(total, tuple([names[at] for at in critical_path(jobs, below)]), sum(jobs.seconds), slots)


def critical_path(jobs: JobGraph, below: Sequence[float]) -> list[int]:
    """The longest chain, by the `paths_below`; among equals the first. One pass finds it, as parents come first."""
    if not len(jobs):
        return []
    path = [max(range(len(jobs)), key=below.__getitem__)]
    for at, above in enumerate(jobs.after):
        if (last := path[-1]) in above and below[at] + jobs.seconds[last] == below[last]:
            path.append(at)
    return path


def makespan(
    jobs: JobGraph, slots: int, ranks: Sequence[float] | None, seconds: Sequence[float] | None = None
) -> float:
    """Seconds that list scheduling takes: whenever a slot is free, the ready job of the lowest rank starts.

    Without ranks, the one that was ready first. `seconds` are the true lengths, where the jobs' are estimates.
    """
    return max(_run(jobs, slots, ranks, seconds)[1], default=0.0)


def ends(
    jobs: JobGraph, slots: int, ranks: Sequence[float] | None, seconds: Sequence[float] | None = None
) -> Sequence[float]:
    """The seconds after which each job is done by the same rule."""
    turns, found = _run(jobs, slots, ranks, seconds)
    return array("d", map(found.__getitem__, turns))


def _run(
    jobs: JobGraph, slots: int, ranks: Sequence[float] | None, seconds: Sequence[float] | None
) -> tuple[Sequence[int], Sequence[float]]:
    """Which turn each job has by its rank, and the seconds after which the job of each turn is done.

    All is kept by the turns, so that what is looked at together is close together.
    """
    order = range(len(jobs)) if ranks is None else sorted(range(len(jobs)), key=ranks.__getitem__)
    turns, missing = array("i", [0]) * len(jobs), array("i", [0]) * len(jobs)
    takes, found = array("d", [0.0]) * len(jobs), array("d", [0.0]) * len(jobs)
    for turn, at in enumerate(order):
        turns[at] = turn
    ready = _First() if ranks is None else _Lowest(len(jobs))
    for turn, above, length in zip(turns, jobs.after, jobs.seconds if seconds is None else seconds, strict=True):
        takes[turn] = length
        missing[turn] = len(above)
        if not above:
            ready.put(turn)
    waiting = _Waiting(jobs.after, turns)
    first, following, children = waiting.first, waiting.following, waiting.children
    running: list[tuple[float, int]] = []
    now = 0.0
    while True:
        while len(running) < slots and (turn := ready.take()) >= 0:
            heapq.heappush(running, (now + takes[turn], turn))
        if not running:
            return turns, found
        now, done = heapq.heappop(running)
        found[done] = now
        edge = first[done]
        while edge >= 0:
            child = children[edge]
            missing[child] -= 1
            if not missing[child]:
                ready.put(child)
            edge = following[edge]


class _Waiting:
    """Which jobs wait for each one, by their turns: a forward star, as lists of lists are all over the memory.

    `first` has the first edge below each job, or -1; `children` the job that an edge leads to; `following` the next
    edge below the same job, or -1.
    """

    def __init__(self, after: Sequence[Sequence[int]], turns: Sequence[int]) -> None:
        self.first = array("i", [-1]) * len(after)
        self.children = array("i")
        self.following = array("i")
        for at in range(len(after) - 1, -1, -1):  # an edge is put before those that are there
            for parent in after[at]:
                above = turns[parent]
                self.following.append(self.first[above])
                self.first[above] = len(self.children)
                self.children.append(turns[at])


class _Lowest:
    """The jobs that are ready: the one of the lowest turn is taken first.

    A flag for each: as most turns are taken in their order, the next flag is close by, and no heap would be as quick.
    """

    def __init__(self, count: int) -> None:
        self._flags = bytearray(count)
        self._from = 0

    def put(self, turn: int) -> None:
        self._flags[turn] = 1
        if turn < self._from:
            self._from = turn

    def take(self) -> int:
        """Its turn, or -1 where none is ready."""
        turn = self._flags.find(1, self._from)
        if turn >= 0:
            self._flags[turn] = 0
            self._from = turn + 1
        return turn


class _First:
    """The same, and the one that was ready first is taken first."""

    def __init__(self) -> None:
        self._turns: deque[int] = deque()

    def put(self, turn: int) -> None:
        self._turns.append(turn)

    def take(self) -> int:
        """Its turn, or -1 where none is ready."""
        return self._turns.popleft() if self._turns else -1
