"""Recorded waves: what each build was expected to take, and when it began and ended; to be replayed to the forecast.

They are made by a world that the forecast knows nothing of: nights are slow or quick for all builds, a few builds take
several times as long (a cold cache, a slow host), some images have never been built, and expectations rest on few.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from statistics import median

import forest
from msgspec import Struct

from rebuilder.domain.experience import Experience, Observed, factors_of, pace_of
from rebuilder.domain.forecast import Open
from rebuilder.domain.lifecycle import State
from rebuilder.domain.schedule import JobGraph, ends, paths_below

WAVE = 1
BUILDS = 5


class World(Struct, frozen=True):
    """How builds are there: the shares of them that straggle and that are of new images, and how much they vary.

    `spread` is of builds (of the logarithm), `nights` of history's nights, `tonight` of the wave's; `drift` is by how
    much builds slow down, or quicken, from the wave's begin to its end.
    """

    stragglers: float = 0.05
    new: float = 0.1
    spread: float = 0.25
    nights: float = 0.4
    tonight: float = 0.6
    drift: float = 0.0

    def factor(self, dice: random.Random) -> float:
        """What a build takes longer than builds of its image do."""
        return math.exp(dice.gauss(0, self.spread)) * (dice.uniform(1.5, 4) if dice.random() < self.stragglers else 1.0)


USUAL = World()


class Wave(Struct, frozen=True):
    """A wave that is over. `before` has the ratios of builds in earlier waves."""

    after: Sequence[Sequence[int]]
    expected: Sequence[float]
    ranks: Sequence[float]
    begun: Sequence[float]
    ended: Sequence[float]
    before: Sequence[tuple[int, float]]
    slots: int

    def after_share(self, share: float) -> float:
        """The moment at which that share of its builds had ended."""
        return sorted(self.ended)[int(len(self.ended) * share)]

    def left(self, now: float) -> float:
        """What it took from then on."""
        return max(self.ended) - now

    def open(self, now: float) -> list[Open]:
        """What was open then."""
        return [
            Open(at, tuple(p for p in self.after[at] if self.ended[p] > now), self._state(at, now), self.expected[at],
                 self.ranks[at], max(0.0, now - self.begun[at]), wave=WAVE)
            for at in range(len(self.ended)) if self.ended[at] > now
        ]  # fmt: skip

    def _state(self, at: int, now: float) -> State:
        return State.BUILDING if self.begun[at] <= now else State.WAITING

    def experience(self, now: float) -> Experience:
        """What could be known then."""
        seen = [
            Observed((min(self.ended[at], now) - self.begun[at]) / self.expected[at], self.ended[at] <= now)
            for at in range(len(self.ended)) if self.begun[at] < now
        ]  # fmt: skip
        return Experience({WAVE: pace_of(seen)}, factors_of(self.before))


def recorded(seed: int, count: int, slots: int, world: World = USUAL) -> Wave:
    """A wave of about so many images."""
    dice = random.Random(seed)
    images = [layer.image for layer in forest.forest(count, 2, seed)]
    number = {image.key: at for at, image in enumerate(images)}
    after = [list(dict.fromkeys(number[parent.image] for parent in image.parents)) for image in images]
    usual = [image.estimate or 300.0 for image in images]
    nights = [math.exp(dice.gauss(0, world.nights)) for _ in range(BUILDS)]
    history = [[usual[at] * night * world.factor(dice) for night in nights] for at in range(len(images))]
    stream = median(median(builds) for builds in history)
    new = {at for at in range(len(images)) if dice.random() < world.new}
    expected = [stream if at in new else median(builds) for at, builds in enumerate(history)]
    before = [
        (night, builds[night] / (stream if at in new else median(builds[:night])))
        for at, builds in enumerate(history) for night in range(2, BUILDS)
    ]  # fmt: skip
    tonight = math.exp(dice.gauss(0, world.tonight))
    actual = [seconds * tonight * world.factor(dice) for seconds in usual]
    jobs = JobGraph(after, expected)
    ranks = [-path for path in paths_below(jobs)]
    ended = ends(jobs, slots, ranks, actual)
    begun = [end - seconds for end, seconds in zip(ended, actual, strict=True)]
    return Wave(after, expected, ranks, begun, ended, dice.sample(before, min(200, len(before))), slots)
