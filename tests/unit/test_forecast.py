"""When open rebuilds will be done."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebuilder.domain.experience import Experience, Pace
from rebuilder.domain.forecast import Eta, Forecast, Open, critical_path, forecast
from rebuilder.domain.lifecycle import State

BASE = Open(1, (), State.BUILDING, 100, 0, running=40)
MID = Open(2, (1,), State.WAITING, 50, 1)
APP = Open(3, (2,), State.WAITING, 30, 2)
SIDE = Open(4, (1,), State.WAITING, 20, 3)


def test_what_runs_needs_what_is_left_of_it_and_then_what_waits_for_it_begins() -> None:
    found = forecast([BASE, MID, APP, SIDE], 4)
    assert found.done_in == {1: 60, 2: 110, 3: 140, 4: 80}
    assert found.of([1, 2, 3, 4]) == Eta(140, 140, 140)


def test_they_may_come_in_any_order() -> None:
    assert forecast([APP, SIDE, MID, BASE], 4) == forecast([BASE, MID, APP, SIDE], 4)


def test_with_one_slot_they_follow_in_the_order_of_the_queue() -> None:
    assert forecast([BASE, MID, APP, SIDE], 1).done_in == {1: 60, 2: 110, 3: 140, 4: 160}


def test_a_build_that_should_be_done_runs_on_as_those_did_that_ran_for_so_long() -> None:
    late = Open(1, (), State.BUILDING, 100, 0, running=150)
    seen = Experience({0: Pace()}, [1.0] * 30 + [2.0, 3.0, 4.0])
    assert late.overdue(seen) and not Open(1, (), State.BUILDING, 100, 0, running=90).overdue(seen)
    assert late.left(seen, 1.0, 0.5) == 300 - 150
    assert seen.mean_left(100, 150) == pytest.approx(150, rel=0.02)


def test_what_runs_beyond_all_that_was_ever_seen_is_unknown_and_so_is_what_waits_for_it() -> None:
    endless = Open(1, (), State.BUILDING, 0.04, 0, running=180)
    found = forecast([endless, MID, APP, SIDE, Open(5, (), State.QUEUED, 10, 9)], 4)
    assert found.unknown == {1, 2, 3, 4}
    assert found.of([1, 2, 3, 4, 5]) is None
    assert found.of([5]) == Eta(10, 10, 10)


def test_all_is_as_slow_as_the_wave_has_shown() -> None:
    wave = [Open(ident, (), State.QUEUED, 100, ident, wave=7) for ident in range(1, 5)]
    seen = Experience({7: Pace(3.0)}, [1.0] * 30)
    assert forecast(wave, 2, seen).of([1, 2, 3, 4]) == Eta(600, 600, 600)


def test_builds_that_run_go_on_though_there_are_fewer_slots_now() -> None:
    both = [Open(ident, (), State.BUILDING, 100, 0, running=20) for ident in (1, 2)]
    assert forecast(both, 1).of([1, 2]) == Eta(80, 80, 80)


def test_a_slot_is_taken_by_what_runs_for_another_wave() -> None:
    mine = Open(2, (), State.QUEUED, 10, -1000)
    assert forecast([BASE, mine], 1).of([2]) == Eta(70, 70, 70)


def test_what_is_held_and_what_waits_for_it_has_no_end() -> None:
    held = Open(2, (1,), State.WAITING, 50, 1, stands=True)
    found = forecast([BASE, held, APP, SIDE], 4)
    assert found.standing == {2, 3}
    assert found.of([2, 3]) is None
    assert found.of([2, 4]) == Eta(80, 80, 80)


def test_the_critical_path_is_the_longest_chain_that_is_left() -> None:
    rebuilds = [BASE, MID, APP, SIDE]
    assert critical_path(rebuilds, forecast(rebuilds, 2)) == (1, 2, 3)
    assert critical_path(rebuilds[1:], forecast(rebuilds, 2)) == (2, 3), "of one wave among several"
    assert critical_path([], forecast([], 2)) == ()


def test_what_another_wave_has_below_a_rebuild_is_not_on_its_waves_critical_path() -> None:
    of_another = Open(5, (4,), State.WAITING, 500, 4)
    mine = [BASE, MID, SIDE]
    assert critical_path(mine, forecast([*mine, of_another], 2)) == (1, 2)
    assert critical_path(mine[::-1], forecast([*mine, of_another], 2)) == (1, 2), "in whatever order they come"


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_nothing_is_done_before_its_parents(slots: int) -> None:
    found = forecast([BASE, MID, APP, SIDE], slots).done_in
    assert found[1] < found[2] < found[3] and found[1] < found[4]


def _forecasts(seconds: list[float], slots: int, spread: float) -> Forecast:
    rebuilds = [Open(at, (at - 1,) if at % 3 else (), State.QUEUED, length, at) for at, length in enumerate(seconds)]
    return forecast(rebuilds, slots, Experience({0: Pace(1.0, spread)}))


@given(st.lists(st.floats(1, 1000), min_size=1, max_size=12), st.integers(1, 4), st.floats(0, 1))
def test_a_range_holds_what_is_likely_and_is_the_same_for_the_same(
    seconds: list[float], slots: int, spread: float
) -> None:
    found = _forecasts(seconds, slots, spread)
    eta = found.of(range(len(seconds)))
    assert eta is not None and 0 < eta.low <= eta.likely <= eta.high
    assert found.draws == _forecasts(seconds, slots, spread).draws
    for at in range(len(seconds)):
        one = found.of([at])
        assert one is not None and one.high <= eta.high and one.low <= eta.low
