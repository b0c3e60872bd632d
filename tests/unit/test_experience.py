"""What builds that ended, and those that run, tell of how long others will take."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebuilder.domain.experience import FEW, UNKNOWN, Experience, Observed, factors_of, pace_of

FACTORS = st.lists(st.floats(0.1, 10), min_size=FEW, max_size=60)


def ended(*ratios: float) -> list[Observed]:
    return [Observed(ratio) for ratio in ratios]


def test_the_pace_of_a_wave_is_the_median_of_what_it_took_over_what_was_expected() -> None:
    found = pace_of(ended(*[2.0] * 40, *[9.0] * 10))
    assert found.factor == pytest.approx(2.0, rel=0.02)
    assert found.spread < 0.1


def test_a_few_builds_say_less_than_many_and_none_says_nothing() -> None:
    nothing, one, many = pace_of([]), pace_of(ended(4.0)), pace_of(ended(*[4.0] * 30))
    assert nothing.factor == 1.0 < one.factor < many.factor <= 4.0
    assert nothing.spread > one.spread > many.spread


def test_the_quick_ones_that_ended_first_do_not_speak_for_those_that_still_run() -> None:
    running = [Observed(2.0, ended=False)] * 30
    assert pace_of([*ended(*[0.5] * 10), *running]).factor > 1.5
    assert pace_of(ended(*[0.5] * 10)).factor < 0.6


def test_builds_that_all_run_for_far_longer_than_expected_make_the_wave_slow_before_one_has_ended() -> None:
    assert pace_of([Observed(4500.0, ended=False)] * 4).factor > 100
    assert pace_of([Observed(0.1, ended=False)] * 4).factor == 1.0, "they have only just begun"


def test_a_build_s_own_factor_is_what_it_took_beside_the_pace_of_its_wave() -> None:
    assert factors_of([(1, 2.0), (1, 2.0), (1, 4.0), (2, 0.5), (2, 0.5), (2, 0.25), (3, 9.0)]) == [1, 1, 2, 1, 1, 0.5]


def test_without_a_history_builds_spread_as_they_usually_do() -> None:
    assert Experience().factor(0.5) == 1.0
    assert Experience().factor(0.1) < 0.8 < 1.3 < Experience().factor(0.9)


@given(FACTORS, st.floats(1, 1000), st.floats(0, 5000), st.floats(0.01, 0.98))
def test_what_is_left_is_never_negative_grows_with_the_chance_and_is_unknown_only_far_beyond_all_that_was_seen(
    factors: list[float], expected: float, running: float, chance: float
) -> None:
    seen = Experience({}, factors)
    left, later = seen.left(expected, running, chance), seen.left(expected, running, chance + 0.01)
    if running > UNKNOWN * expected * max(factors):
        assert left is later is None
    else:
        assert left is not None and later is not None
        assert 0 <= left <= later


@given(FACTORS, st.floats(1, 1000), st.floats(0, 1000))
def test_the_longer_it_has_run_the_later_it_ends(factors: list[float], expected: float, running: float) -> None:
    seen = Experience({}, factors)
    ends = [at + left for at in (running, running + 10) if (left := seen.left(expected, at)) is not None]
    assert ends == sorted(ends) or ends[1] >= ends[0] - 1e-6


@given(FACTORS, st.floats(0.01, 0.98))
def test_a_factor_is_one_that_was_seen_or_between_two(factors: list[float], chance: float) -> None:
    assert min(factors) <= Experience({}, factors).factor(chance) <= max(factors)
