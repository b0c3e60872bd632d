"""How good the forecast is, on recorded waves that are replayed to it."""

from __future__ import annotations

import statistics
import time

import pytest
import waves

from rebuilder.domain.forecast import forecast

SEEDS = 40
TUNED = range(SEEDS)  # of the waves that the forecast was tuned on
HELD_OUT = range(1_000_000, 1_000_000 + 3 * SEEDS)  # of others, for judging it: nothing may be tuned on them
ROUGH = waves.World(stragglers=0.12, new=0.25, spread=0.4, nights=0.6, tonight=0.9, drift=0.3)
SIZES = ((60, 4), (250, 20), (600, 50))  # images, slots
MOST_ERROR, LEAST_HELD, MOST_HELD, MOST_UNKNOWN = 0.15, 0.75, 0.90, 0.02
Told = tuple[float, bool, float]


def replayed(
    count: int, slots: int, share: float, seeds: range, world: waves.World
) -> tuple[list[Told], int, float]:
    """The errors, whether the truth was in the range, and its width; how often nobody knew; the seconds for each."""
    found: list[Told] = []
    unknown, took = 0, 0.0
    for seed in seeds:
        wave = waves.recorded(seed, count, slots, world)
        now = wave.after_share(share)
        begin = time.perf_counter()
        open_ = wave.open(now)
        eta = forecast(open_, slots, wave.experience(now)).of([one.id for one in open_])
        took += time.perf_counter() - begin
        left = wave.left(now)
        if eta is None:
            unknown += 1
        else:
            found.append((abs(eta.likely - left) / left, eta.low <= left <= eta.high, (eta.high - eta.low) / left))
    return found, unknown, took / len(seeds)


@pytest.mark.parametrize("seeds", [TUNED, HELD_OUT], ids=["tuned on", "held out"])
@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_the_time_that_is_left_of_a_wave_is_told_well_and_so_is_how_sure_that_is(share: float, seeds: range) -> None:
    errors, held, unknown = judged(share, seeds, waves.USUAL)
    if share == 0.5:
        assert statistics.median(errors) <= MOST_ERROR
        assert LEAST_HELD <= statistics.mean(held) <= MOST_HELD
        assert unknown <= MOST_UNKNOWN * len(seeds) * len(SIZES)


def test_what_a_world_of_another_kind_does_to_the_forecast_is_told() -> None:
    """Nothing was tuned on it, and no bound is claimed for it but that it does not collapse."""
    errors, held, _ = judged(0.5, HELD_OUT, ROUGH)
    assert statistics.median(errors) <= 2 * MOST_ERROR
    assert statistics.mean(held) >= 0.5


def judged(share: float, seeds: range, world: waves.World) -> tuple[list[float], list[bool], int]:
    """The errors at that share of the waves of these seeds, whether the truth was in the range, how many were unknown.

    They are printed by size of the wave, too.
    """
    print(f"\nfrom seed {seeds.start}, after {share:.0%} of a wave's builds: "
          "median error, truth within the range, its width, unknown, each")
    errors: list[float] = []
    held: list[bool] = []
    unknown = 0
    for count, slots in SIZES:
        told, unknown_here, seconds = replayed(count, slots, share, seeds, world)
        mine = [error for error, _, _ in told]
        inside = [hit for _, hit, _ in told]
        width = statistics.median(width for _, _, width in told)
        print(f"  {count:4} images on {slots:3} slots: {statistics.median(mine):6.1%} {statistics.mean(inside):6.1%} "
              f"{width:6.1%} {unknown_here:2} of {len(seeds)} {1000 * seconds:5.0f} ms")  # fmt: skip
        errors += mine
        held += inside
        unknown += unknown_here
    print(f"  all: {statistics.median(errors):.1%}, {statistics.mean(held):.1%} held")
    return errors, held, unknown
