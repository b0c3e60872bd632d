"""When open rebuilds will be done: what runs goes on, what waits starts by its place in the queue.

Pure, and the same for the same. What builds take is drawn a few times from what is known of them (`Experience`), and
the schedule made each time: so a forecast is a range. What an operator or a failure holds up has none; when what runs
beyond all experience ends, and what waits for it, is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from graphlib import TopologicalSorter
from random import Random
from statistics import median

from msgspec import Struct, field

from rebuilder.domain import schedule
from rebuilder.domain.experience import Experience
from rebuilder.domain.lifecycle import LIVE, UNDER_WAY, State
from rebuilder.domain.schedule import JobGraph, ends, paths_below

DRAWS, LEAST_DRAWS = 50, 3
LATE = 0.9  # what takes longer than nine of ten is overdue
MOST_BUILDS = 10_000  # in all draws: a page is asked for often
KEPT_LOTS = 20_000  # of builds: pages ask again and again for what is the same each time
LOW, HIGH = 0.05, 0.95  # of the draws, which know less than there is: so the range holds the truth four times in five


class Open(Struct, frozen=True):
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
    wave: int = 0

    def left(self, experience: Experience, pace: float, chance: float) -> float | None:
        """The seconds of building that are left, undercut with that chance (0 to 1); None where they are unknown."""
        expected = self.seconds * pace
        if self.state is State.TESTING:  # it is built; how long a gate takes is unknown
            return 0.0
        if self.state not in UNDER_WAY:
            return expected * experience.factor(chance)
        return experience.left(expected, self.running, chance)

    def overdue(self, experience: Experience) -> bool:
        """Whether its build runs for longer than builds like it should by now."""
        pace = experience.pace(self.wave).factor
        return self.state in LIVE and self.running > self.seconds * pace * experience.factor(LATE)


class Eta(Struct, frozen=True):
    """The seconds until something is done: most likely, and the range that holds the truth four times in five."""

    low: float
    likely: float
    high: float


class Forecast(Struct, frozen=True, dict=True):
    """For each draw the seconds from now until each rebuild is done; those that stand, and those that are unknown.

    `left` has the seconds of building that are left of each that is known, most likely.
    """

    draws: tuple[Mapping[int, float], ...]
    standing: frozenset[int]
    unknown: frozenset[int] = frozenset()
    left: Mapping[int, float] = field(default_factory=dict)

    def knows(self, ident: int) -> bool:
        """Whether there is a forecast for that rebuild."""
        return bool(self.draws) and ident in self.draws[0]

    def of(self, ids: Sequence[int]) -> Eta | None:
        """In how many seconds all of these are done that do not stand.

        None where all stand, and where one is unknown.
        """
        if not self.unknown.isdisjoint(ids):
            return None
        pending = [ident for ident in ids if self.knows(ident)]
        if not pending:
            return None
        seconds = sorted(max(map(draw.__getitem__, pending)) for draw in self.draws)
        return Eta(_quantile(seconds, LOW), median(seconds), _quantile(seconds, HIGH))

    @cached_property
    def done_in(self) -> Mapping[int, float]:
        """The likely seconds until each rebuild is done that is known."""
        return {ident: median(draw[ident] for draw in self.draws) for ident in (self.draws[0] if self.draws else ())}


def _quantile(draws: Sequence[float], share: float) -> float:
    """Of sorted draws; those at the ends stand for what is beyond them."""
    place = min(len(draws) - 1.0, max(0.0, share * (len(draws) + 1) - 1))
    below = int(place)
    above = min(below + 1, len(draws) - 1)
    return draws[below] + (place - below) * (draws[above] - draws[below])


def forecast(rebuilds: Sequence[Open], slots: int, experience: Experience | None = None) -> Forecast:
    """When each of these, in whatever order, will be done on so many slots.

    What waits for one that stands, stands too. What is not among these is done. Without experience there is one draw,
    of what is expected.
    """
    rebuilds = _ordered(rebuilds)
    standing = _with_below(rebuilds, [rebuild.id for rebuild in rebuilds if rebuild.stands])
    likely = _likely(rebuilds, experience or Experience())
    endless = [rebuild.id for rebuild in rebuilds if rebuild.id not in likely]
    unknown = _with_below(rebuilds, endless) - standing
    moving = [rebuild for rebuild in rebuilds if rebuild.id not in standing | unknown]
    lengths = _lengths(moving, experience) if experience is not None else [[likely[one.id] for one in moving]]
    return Forecast(_schedules(moving, slots - len(endless), lengths), standing, unknown, likely)


def _likely(rebuilds: Sequence[Open], experience: Experience) -> dict[int, float]:
    """The likely seconds of building that are left of each, where that is known."""
    left = {rebuild.id: rebuild.left(experience, experience.pace(rebuild.wave).factor, 0.5) for rebuild in rebuilds}
    return {ident: seconds for ident, seconds in left.items() if seconds is not None}


def _schedules(
    rebuilds: Sequence[Open], slots: int, lengths: Sequence[Sequence[float]]
) -> tuple[Mapping[int, float], ...]:
    """For each draw of the builds' lengths, when they end: what runs has its slot, and the others take turns."""
    live = [rebuild.state in UNDER_WAY for rebuild in rebuilds]
    ranks = [float("-inf") if runs else rebuild.rank for rebuild, runs in zip(rebuilds, live, strict=True)]
    ids = [rebuild.id for rebuild in rebuilds]
    jobs = JobGraph(_edges(rebuilds), lengths[0])
    taken = max(1, slots, sum(live))
    return tuple(dict(zip(ids, ends(jobs, taken, ranks, some), strict=True)) for some in lengths)


def _with_below(rebuilds: Sequence[Open], first: Sequence[int]) -> frozenset[int]:
    """These, and what waits for them; the rebuilds come parents first."""
    ids = set(first)
    for rebuild in rebuilds:
        if not ids.isdisjoint(rebuild.after):
            ids.add(rebuild.id)
    return frozenset(ids)


def _lengths(rebuilds: Sequence[Open], experience: Experience) -> Sequence[Sequence[float]]:
    """The builds' lengths, a few times over. Each build is drawn once from each part of what it may take."""
    count = min(DRAWS, max(LEAST_DRAWS, MOST_BUILDS // max(1, len(rebuilds))))
    lots = {wave: _lots(-wave - 1, count) for wave in {rebuild.wave for rebuild in rebuilds}}
    paces = {wave: [experience.pace(wave).at(chance) for chance in lot] for wave, lot in lots.items()}
    columns = [_drawn(rebuild, experience, paces[rebuild.wave], _lots(rebuild.id, count)) for rebuild in rebuilds]
    return list(zip(*columns, strict=True)) if columns else [()]


def _drawn(rebuild: Open, experience: Experience, paces: Sequence[float], chances: Sequence[float]) -> list[float]:
    """What a build may take still, for each pace and chance."""
    if rebuild.state in UNDER_WAY:
        both = zip(paces, chances, strict=True)
        return [rebuild.left(experience, pace, chance) or 0.0 for pace, chance in both]
    seconds, factors = rebuild.seconds, experience.known
    count = len(factors)
    return [seconds * pace * factors[int(chance * count)] for pace, chance in zip(paces, chances, strict=True)]


@lru_cache(KEPT_LOTS)
def _lots(seed: int, count: int) -> tuple[float, ...]:
    """One chance out of each of so many equal parts of what is possible, in an order of the seed's own.

    Not the parts' middles: of many builds, the one that takes the longest decides.
    """
    dice = Random(seed)
    chances = [(at + dice.random()) / count for at in range(count)]
    dice.shuffle(chances)
    return tuple(chances)


def _ordered(rebuilds: Sequence[Open]) -> list[Open]:
    """Parents first: of several waves, which are not in that order by themselves."""
    by_id = {rebuild.id: rebuild for rebuild in rebuilds}
    sorter = TopologicalSorter({rebuild.id: [p for p in rebuild.after if p in by_id] for rebuild in rebuilds})
    return [by_id[ident] for ident in sorter.static_order()]


def critical_path(rebuilds: Sequence[Open], forecast: Forecast) -> tuple[int, ...]:
    """The longest chain of builds that is left among these, by the likely seconds; the first among equals."""
    among = _ordered([rebuild for rebuild in rebuilds if forecast.knows(rebuild.id)])
    jobs = JobGraph(_edges(among), [forecast.left[rebuild.id] for rebuild in among])
    return tuple(among[at].id for at in schedule.critical_path(jobs, paths_below(jobs)))


def _edges(rebuilds: Sequence[Open]) -> list[list[int]]:
    """What each waits for, numbered as they come. What is not among them is not waited for."""
    number = {rebuild.id: at for at, rebuild in enumerate(rebuilds)}
    return [[number[parent] for parent in rebuild.after if parent in number] for rebuild in rebuilds]
