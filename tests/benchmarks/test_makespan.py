"""How long waves take, over the least that is possible, on random forests of images."""

from __future__ import annotations

import random
import statistics

import forest
import pytest

from rebuilder.domain.change import Severity
from rebuilder.domain.schedule import JobGraph
from rebuilder.domain.simulation import Policy, simulate

SEEDS = 40


def jobs_of(count: int, seed: int) -> JobGraph:
    """The images of a forest, each with a build of lognormal length."""
    images = [layer.image for layer in forest.forest(count, 2, seed)]
    number = {image.key: at for at, image in enumerate(images)}
    after = [list(dict.fromkeys(number[parent.image] for parent in image.parents)) for image in images]
    return JobGraph(after, [image.estimate for image in images])


@pytest.mark.parametrize(("images", "slots"), [(1000, 100), (250, 30)])
def test_the_critical_path_goes_first(images: int, slots: int) -> None:
    print(f"\n{images} images on {slots} slots, {SEEDS} seeds: makespan over the lower bound, mean and worst")
    for noise, wanted in ((0.0, 1.05), (0.5, 1.10)):
        for policy in Policy:
            found = []
            for seed in range(SEEDS):
                jobs = jobs_of(images, seed)
                dice = random.Random(seed)
                factors = [dice.lognormvariate(0.0, noise) for _ in range(images)]
                found.append(simulate(jobs, [Severity.UNSPECIFIED] * len(jobs), slots, policy, factors).ratio)
            mean = statistics.mean(found)
            print(f"  estimates off by sigma {noise}: {policy:14} {mean:6.3f} {max(found):6.3f}")
            if policy is Policy.CRITICAL_PATH:
                assert mean <= wanted
