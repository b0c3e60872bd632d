"""When open rebuilds will be done: what runs goes on, what waits starts by its place in the queue.

Pure. A forecast is as good as the images' histories; what an operator or a failure holds up has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter

from rebuilder.domain import schedule
from rebuilder.domain.lifecycle import LIVE, State
from rebuilder.domain.schedule import JobGraph, ends, paths_below

OVERDUE = 0.1  # of its expected seconds is what a build that should be done is thought to need still


@dataclass(frozen=True, slots=True)
class Open:
    """An open rebuild: those it waits for, the expected seconds of its build, and its place in the queue.

    `running` is for how many seconds its build has run. One that `stands` does not begin by itself.
    """

    id: int
    after: tuple[int, ...]
    state: State
    seconds: float
    rank: float
    running: float = 0.0
    stands: bool = False

    @property
    def left(self) -> float:
        """The expected seconds of building that are left."""
        if self.state not in LIVE:
            return self.seconds
        return max(self.seconds - self.running, self.seconds * OVERDUE)


@dataclass(frozen=True, slots=True)
class Forecast:
    """The seconds from now until each rebuild is done, and those that nobody can tell this of, because they stand."""

    done_in: Mapping[int, float]
    standing: frozenset[int]

    def of(self, ids: Sequence[int]) -> float | None:
        """The seconds until all of these are done that can be; None where none of them can."""
        return max((self.done_in[ident] for ident in ids if ident in self.done_in), default=None)


def forecast(rebuilds: Sequence[Open], slots: int) -> Forecast:
    """When each of these, in whatever order, will be done on so many slots.

    What waits for one that stands, stands too. What is not among these is done.
    """
    rebuilds = _ordered(rebuilds)
    standing: set[int] = set()
    for rebuild in rebuilds:
        if rebuild.stands or not standing.isdisjoint(rebuild.after):
            standing.add(rebuild.id)
    moving = [rebuild for rebuild in rebuilds if rebuild.id not in standing]
    jobs = _jobs(moving)
    ranks = [float("-inf") if rebuild.state in LIVE else rebuild.rank for rebuild in moving]
    taken = max(slots, sum(rebuild.state in LIVE for rebuild in moving))
    ids = [rebuild.id for rebuild in moving]
    return Forecast(dict(zip(ids, ends(jobs, taken, ranks), strict=True)), frozenset(standing))


def _ordered(rebuilds: Sequence[Open]) -> list[Open]:
    """Parents first: of several waves, which are not in that order by themselves."""
    known = {rebuild.id: rebuild for rebuild in rebuilds}
    sorter = TopologicalSorter({rebuild.id: [p for p in rebuild.after if p in known] for rebuild in rebuilds})
    return [known[ident] for ident in sorter.static_order()]


def critical_path(rebuilds: Sequence[Open], found: Forecast) -> tuple[int, ...]:
    """The longest chain of builds that is left among these, by the expected seconds; the first among equals."""
    among = _ordered([rebuild for rebuild in rebuilds if rebuild.id in found.done_in])
    jobs = _jobs(among)
    return tuple(among[at].id for at in schedule.critical_path(jobs, paths_below(jobs)))


def _jobs(rebuilds: Sequence[Open]) -> JobGraph:
    """Their builds, numbered as they come. What is not among them is not waited for."""
    number = {rebuild.id: at for at, rebuild in enumerate(rebuilds)}
    after = [[number[parent] for parent in rebuild.after if parent in number] for rebuild in rebuilds]
    return JobGraph(after, [rebuild.left for rebuild in rebuilds])
