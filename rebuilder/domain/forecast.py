"""When each of the builds that are open is expected to end, if all goes as it usually does."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Remaining:
    """A build that is not done: the names of those it waits for, the seconds that it still takes, and its rank.

    One that runs already has its slot.
    """

    name: int
    after: tuple[int, ...]
    seconds: float
    rank: float
    running: bool = False


def ends(builds: Sequence[Remaining], slots: int) -> dict[int, float]:
    """In how many seconds each of these builds ends: whenever a slot is free, the ready one of the lowest rank starts.

    What waits for a build that is not among them waits for nothing.
    """
    place = {build.name: at for at, build in enumerate(builds)}
    missing = [sum(1 for name in build.after if name in place) for build in builds]
    children: list[list[int]] = [[] for _ in builds]
    for at, build in enumerate(builds):
        for name in build.after:
            if name in place:
                children[place[name]].append(at)
    running = [(build.seconds, at) for at, build in enumerate(builds) if build.running]
    heapq.heapify(running)
    ready = [(b.rank, at) for at, b in enumerate(builds) if not b.running and not missing[at]]
    heapq.heapify(ready)
    found: dict[int, float] = {}
    now = 0.0
    while running or ready:
        while ready and len(running) < max(slots, 1):
            _, at = heapq.heappop(ready)
            heapq.heappush(running, (now + builds[at].seconds, at))
        now, at = heapq.heappop(running)
        found[builds[at].name] = now
        for child in children[at]:
            missing[child] -= 1
            if not missing[child] and not builds[child].running:
                heapq.heappush(ready, (builds[child].rank, child))
    return found
