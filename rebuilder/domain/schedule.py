"""How long a set of ordered builds takes on so many slots, and what to start first."""

from __future__ import annotations

import heapq
from array import array
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import compress
from operator import not_
from statistics import median

from msgspec import Struct

from rebuilder.domain.change import Severity, most_severe
from rebuilder.domain.image import Image
from rebuilder.domain.image_name import stream_of

DEFAULT_SECONDS = 300.0
SEVERITY_SECONDS = 24 * 3600.0


class Estimate(Struct, frozen=True):
    """Seconds until all is built on `slots` slots, the longest chain of builds, and the sum of all builds."""

    makespan_s: float
    critical_path: tuple[str, ...]
    work_s: float
    slots: int


class JobGraph(Struct, frozen=True):
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
        histories.setdefault(stream_of(key), []).append(seconds)
    usual = {stream: median(history) for stream, history in histories.items()}
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
    return Estimate(total, tuple([names[at] for at in critical_path(jobs, below)]), sum(jobs.seconds, 0.0), slots)


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
    return max(ends(jobs, slots, ranks, seconds), default=0.0)


def ends(
    jobs: JobGraph, slots: int, ranks: Sequence[float] | None, seconds: Sequence[float] | None = None
) -> Sequence[float]:
    """The seconds after which each job is done by the same rule.

    Jobs are numbered anew by their turns, and kept in arrays: of a large graph, what is looked at together is close
    together in memory, where lists of lists took twice as long.
    """
    order = range(len(jobs)) if ranks is None else sorted(range(len(jobs)), key=ranks.__getitem__)
    takes = array("d", map((jobs.seconds if seconds is None else seconds).__getitem__, order))
    turns = _turns(order)
    missing = array("i", map(len, map(jobs.after.__getitem__, order)))
    first, following, children = _edges(jobs.after, turns)
    roots = map(turns.__getitem__, compress(range(len(jobs)), map(not_, jobs.after)))
    ready = _FirstReady(roots) if ranks is None else _LowestTurn(roots, len(jobs))
    times = array("d", [0.0]) * len(jobs)
    running: list[tuple[float, int]] = []  # when each is done; among equals the one of the lower turn is first
    now = 0.0
    while True:
        while len(running) < slots and (turn := ready.take()) >= 0:
            heapq.heappush(running, (now + takes[turn], turn))
        if not running:
            break
        now, done = heapq.heappop(running)
        times[done] = now
        edge = first[done]
        while edge >= 0:
            child = children[edge]
            missing[child] -= 1
            if not missing[child]:
                ready.put(child)
            edge = following[edge]
    return array("d", map(times.__getitem__, turns))


def _turns(order: Sequence[int]) -> Sequence[int]:
    """The place of each job in that order."""
    turns = array("i", [0]) * len(order)
    for turn, at in enumerate(order):
        turns[at] = turn
    return turns


def _edges(after: Sequence[Sequence[int]], turns: Sequence[int]) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
    """Which jobs wait for each one: its first edge, the edge that follows each, and the job to which each leads.

    By their turns, and in the order of the jobs. -1 is no edge.
    """
    first = array("i", [-1]) * len(after)
    following, children = array("i"), array("i")
    for at in range(len(after) - 1, -1, -1):  # an edge is put before those that are there
        for parent in after[at]:
            above = turns[parent]
            following.append(first[above])
            first[above] = len(children)
            children.append(turns[at])
    return first, following, children


class _LowestTurn:
    """The jobs that are ready, by their turns: the lowest is taken first.

    A flag for each, as most turns are taken in their order: the next flag is close by. A heap of 50,000 turns, each an
    object somewhere in memory, takes half as long again for a graph of 100,000 images.
    """

    def __init__(self, first: Iterable[int], count: int) -> None:
        self._flags = bytearray(count)
        self._from = 0
        for turn in first:
            self._flags[turn] = 1

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


class _FirstReady:
    """The same, and the one that was ready first is taken first."""

    def __init__(self, first: Iterable[int]) -> None:
        self._turns = deque(first)
        self.put = self._turns.append

    def take(self) -> int:
        """Its turn, or -1 where none is ready."""
        return self._turns.popleft() if self._turns else -1
