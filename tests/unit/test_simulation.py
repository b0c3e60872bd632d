"""Builds on a simulated clock."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.test_schedule import DIAMOND, NOTHING, estimated, plans

from rebuilder.domain.change import Severity
from rebuilder.domain.schedule import JobGraph, makespan, rank
from rebuilder.domain.simulation import Policy, simulate

LOW = Severity.LOW
DAY = 24 * 3600.0


@given(plans(), st.integers(1, 5), st.sampled_from(Policy), st.floats(0, 1))
def test_no_policy_is_quicker_than_the_lower_bound(
    jobs: JobGraph, slots: int, policy: Policy, noise: float
) -> None:
    dice = random.Random(1)
    factors = [dice.lognormvariate(0, noise) for _ in range(len(jobs))]
    found = simulate(jobs, [LOW] * len(jobs), slots, policy, factors)
    assert found.makespan_s >= found.lower_bound_s - 1e-6
    if policy is not Policy.LEVELS:
        assert found.makespan_s <= 2 * found.lower_bound_s + 1e-6


@given(plans(), st.integers(1, 5))
def test_without_noise_it_takes_what_the_plan_says(jobs: JobGraph, slots: int) -> None:
    found = simulate(jobs, [LOW] * len(jobs), slots, Policy.CRITICAL_PATH)
    assert found.makespan_s == pytest.approx(estimated(jobs, slots).makespan_s)


def test_levels_wait_for_the_slowest_of_the_level_above() -> None:
    jobs = JobGraph(((), (), (1,)), (100, 10, 100))
    assert simulate(jobs, [LOW] * 3, 9, Policy.LEVELS).makespan_s == 200
    assert simulate(jobs, [LOW] * 3, 9, Policy.FIFO).makespan_s == 110


def test_nothing_to_build_takes_no_time() -> None:
    found = simulate(NOTHING, (), 3, Policy.LEVELS)
    assert (found.makespan_s, found.ratio, found.builds) == (0, 1, 0)


def test_one_slot_takes_all_the_work() -> None:
    assert {simulate(DIAMOND, [LOW] * 4, 1, policy).makespan_s for policy in Policy} == {165}


def test_what_waits_under_a_stream_of_urgent_builds_starts_within_four_days_and_its_path() -> None:
    hour = 3600.0
    created = [at * hour for at in range(24 * 8)]  # one slot, and always one more urgent build for it
    ranks = [rank(at, Severity.URGENT, hour) for at in created]
    patient = rank(0.0, Severity.UNSPECIFIED, hour)
    overtaking = sum(other < patient for other in ranks)
    assert overtaking * hour <= 4 * DAY + hour
    assert makespan(JobGraph([()] * overtaking, [hour] * overtaking), 1, ranks) <= 4 * DAY + hour
