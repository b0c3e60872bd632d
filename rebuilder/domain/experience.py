"""What builds that ended, and those that run, tell of how long others will take. Pure.

A build takes its expected seconds, times the pace of its wave (a slow night is slow for all), times a factor of its
own. Both are learned, as ratios of actual over expected seconds; all is deterministic.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from statistics import NormalDist, median

from msgspec import Struct, field

NORMAL = NormalDist()
SPREAD = 0.35  # of the logarithm of a build's own factor, until history knows better
PRIOR_SPREAD = 0.7  # of the logarithm of a wave's pace, before the wave has shown anything
MEDIAN_LOSS = 1.25  # a median is that much less sure than a mean
FEW = 20  # ratios below which history is not taken for the whole truth
QUANTILES = 41  # odd: then the middle one is exactly what is expected
TAIL = 2.0  # what ran for t, beyond all experience, runs on for longer than x with the chance (t / (t + x)) ** TAIL
UNKNOWN = 3.0  # times the longest that was ever seen: what runs beyond that says nothing about its end


class Observed(Struct, frozen=True):
    """Actual over expected seconds of a build; of one that has not `ended`, so far."""

    ratio: float
    ended: bool = True


class Pace(Struct, frozen=True):
    """The factor by which a wave's builds take longer than expected, and how sure that is (of its logarithm)."""

    factor: float = 1.0
    spread: float = 0.0

    def at(self, chance: float) -> float:
        """The pace that is undercut with that chance (between 0 and 1, without either)."""
        return self.factor * math.exp(self.spread * NORMAL.inv_cdf(chance)) if self.spread else self.factor


class Experience(Struct, frozen=True, dict=True):
    """The paces of waves by their ids, and the factors that builds had beside the pace; with none, a usual spread."""

    paces: Mapping[int, Pace] = field(default_factory=dict)
    factors: Sequence[float] = ()

    def pace(self, wave: int) -> Pace:
        """The pace of that wave; of one that has shown nothing, that nothing is known of."""
        return self.paces.get(wave, Pace(1.0, PRIOR_SPREAD))

    @cached_property
    def known(self) -> Sequence[float]:
        """The factors that builds are thought to have, sorted: those of history, filled up where there are few."""
        usual = [math.exp(SPREAD * NORMAL.inv_cdf((at + 0.5) / QUANTILES)) for at in range(QUANTILES)]
        few = len(self.factors) < FEW
        return sorted([*self.factors, *usual] if few else self.factors)

    def factor(self, chance: float) -> float:
        """By which factor a build that has not begun takes longer than expected, undercut with that chance."""
        return self._between(0, chance)

    def left(self, expected: float, running: float, chance: float = 0.5) -> float | None:
        """For how many seconds a build will run on that has run for so long, undercut with that chance.

        `expected`, in seconds too, has the wave's pace in it. Only those count that ran for longer. Beyond all that was
        ever seen, what ran for long runs on for long; None beyond UNKNOWN times that.
        """
        if expected <= 0:
            return 0.0
        begin = bisect_right(self.known, running / expected)
        if begin < len(self.known):
            return max(0.0, expected * self._between(begin, chance) - running)
        if running > UNKNOWN * expected * self.known[-1]:
            return None
        return running * (math.pow(1 - chance, -1 / TAIL) - 1)

    def mean_left(self, expected: float, running: float) -> float | None:
        """The conditional expectation of the same, in seconds; None where no part of it is known."""
        quantiles = [self.left(expected, running, (at + 0.5) / QUANTILES) for at in range(QUANTILES)]
        values = [seconds for seconds in quantiles if seconds is not None]
        return sum(values) / len(values) if values else None

    def _between(self, begin: int, chance: float) -> float:
        """The factor at that share of those from `begin` on, between its neighbours."""
        place = begin + chance * (len(self.known) - begin) - 0.5
        below = min(max(begin, math.floor(place)), len(self.known) - 1)
        above = min(below + 1, len(self.known) - 1)
        share = min(1.0, max(0.0, place - below))
        return self.known[below] * (1 - share) + self.known[above] * share


def pace_of(observed: Sequence[Observed]) -> Pace:
    """The pace that a wave has shown: the median of its ratios, as far as they are many.

    Builds that run count from where they are: else the quick ones, which end first, would speak for all.
    """
    builds = [one for one in observed if one.ratio > 0]
    if not builds:
        return Pace(1.0, PRIOR_SPREAD)
    ended = [one for one in builds if one.ended]
    shown = math.log(_median(builds))
    if not ended:
        shown = max(0.0, shown)  # that builds have just begun does not make them quick
    own = MEDIAN_LOSS * SPREAD / math.sqrt(max(1, len(ended)))
    weight = PRIOR_SPREAD**2 / (PRIOR_SPREAD**2 + own**2)
    return Pace(math.exp(weight * shown), math.sqrt(weight) * own)


def _median(observed: Sequence[Observed]) -> float:
    """The median by Kaplan and Meier; where too few have ended for it, that of what there is so far."""
    at_risk, surviving = len(observed), 1.0
    for one in sorted(observed, key=lambda one: (one.ratio, not one.ended)):
        if one.ended:
            surviving *= 1 - 1 / at_risk
            if surviving <= 0.5:
                return one.ratio
        at_risk -= 1
    return median(one.ratio for one in observed)


def factors_of(ratios: Iterable[tuple[int, float]]) -> list[float]:
    """The factors that builds had beside the pace of their wave: of pairs of a wave's id and a ratio."""
    waves: dict[int, list[float]] = {}
    for wave, ratio in ratios:
        if ratio > 0:
            waves.setdefault(wave, []).append(ratio)
    return [ratio / median(of_wave) for of_wave in waves.values() if len(of_wave) > 2 for ratio in of_wave]
