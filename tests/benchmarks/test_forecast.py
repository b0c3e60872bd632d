"""How good the forecast is, on recorded waves that are replayed to it."""

from __future__ import annotations

import statistics
import time

import pytest
import waves

from rebuilder.domain.forecast import forecast

SEEDS = 40
SIZES = ((60, 4), (250, 20), (600, 50))  # images, slots
MOST_ERROR, LEAST_HELD, MOST_HELD, MOST_UNKNOWN = 0.15, 0.75, 0.90, 0.02
Told = tuple[float, bool, float]


def replayed(count: int, slots: int, share: float) -> tuple[list[Told], int, float]:
    """The errors, whether the truth was in the range, and its width; how often nobody knew; the seconds for each."""
    found: list[Told] = []
    unknown, took = 0, 0.0
    for seed in range(SEEDS):
        wave = waves.recorded(seed, count, slots)
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
    return found, unknown, took / SEEDS


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_the_time_that_is_left_of_a_wave_is_told_well_and_so_is_how_sure_that_is(share: float) -> None:
    print(f"\nafter {share:.0%} of a wave's builds: median error, truth within the range, its width, unknown, each")
    errors: list[float] = []
    held: list[bool] = []
    unknown = 0
    for count, slots in SIZES:
        told, unknown_here, seconds = replayed(count, slots, share)
        mine = [error for error, _, _ in told]
        inside = [hit for _, hit, _ in told]
        width = statistics.median(width for _, _, width in told)
        print(f"  {count:4} images on {slots:3} slots: {statistics.median(mine):6.1%} {statistics.mean(inside):6.1%} "
              f"{width:6.1%} {unknown_here:2} of {SEEDS} {1000 * seconds:5.0f} ms")  # fmt: skip
        errors += mine
        held += inside
        unknown += unknown_here
    print(f"  all: {statistics.median(errors):.1%}, {statistics.mean(held):.1%} held")
    if share == 0.5:
        assert statistics.median(errors) <= MOST_ERROR
        assert LEAST_HELD <= statistics.mean(held) <= MOST_HELD
        assert unknown <= MOST_UNKNOWN * SEEDS * len(SIZES)
