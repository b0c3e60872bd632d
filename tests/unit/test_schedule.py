"""What to start first, and how long all of it takes."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebuilder.domain.change import Severity
from rebuilder.domain.schedule import Estimate, JobGraph, ends, estimate, lower_bound, makespan, paths_below, rank

NAMES = ("base", "short", "long", "app")
DIAMOND = JobGraph(((), (0,), (0,), (1, 2)), (100, 10, 50, 5))
NOTHING = JobGraph((), ())


def test_the_longest_chain_below_counts_the_job_itself() -> None:
    assert list(paths_below(DIAMOND)) == [155, 15, 55, 5]


def test_the_critical_path_is_the_longest_chain() -> None:
    assert estimate(NAMES, DIAMOND, 1).critical_path == ("base", "long", "app")


def test_of_two_critical_paths_the_first_is_named() -> None:
    twins = JobGraph(((), (), (0,), (0,), (1,), (3, 2)), (10, 10, 5, 5, 12, 7))
    assert estimate("abcdef", twins, 9).critical_path == ("a", "c", "f")


def test_a_build_that_takes_no_time_may_be_on_the_critical_path() -> None:
    assert estimate("abc", JobGraph(((), (0,), (1,)), (0, 10, 0)), 9).critical_path == ("a", "b", "c")


def test_nothing_takes_no_time() -> None:
    assert estimate((), NOTHING, 4).makespan_s == 0
    assert estimate((), NOTHING, 4).critical_path == ()


def test_with_one_slot_it_takes_all_the_work() -> None:
    assert estimate(NAMES, DIAMOND, 1).makespan_s == 165


def test_with_slots_enough_it_takes_the_longest_chain() -> None:
    found = estimate(NAMES, DIAMOND, 2)
    assert (found.makespan_s, found.work_s, found.slots) == (155, 165, 2)


def test_the_longest_chain_goes_first() -> None:
    jobs = JobGraph(((), (), (), (2,)), (10, 10, 10, 10))
    assert estimate(("a", "b", "root", "leaf"), jobs, 2).makespan_s == 20
    assert makespan(jobs, 2, None) == 30, "first come, first served is worse here"


@st.composite
def plans(draw: st.DrawFn) -> JobGraph:
    count = draw(st.integers(1, 10))
    after = [sorted(draw(st.sets(st.integers(0, at - 1), max_size=3))) if at else [] for at in range(count)]
    return JobGraph(after, [draw(st.integers(1, 50)) for _ in range(count)])


def estimated(jobs: JobGraph, slots: int) -> Estimate:
    return estimate([str(at) for at in range(len(jobs))], jobs, slots)


@given(plans(), st.integers(1, 5))
def test_an_estimate_is_between_the_lower_bound_and_what_list_scheduling_promises(
    jobs: JobGraph, slots: int
) -> None:
    found = estimated(jobs, slots)
    chain = sum(jobs.seconds[int(name)] for name in found.critical_path)
    assert max(chain, found.work_s / slots) <= found.makespan_s + 1e-9
    assert found.makespan_s <= found.work_s / slots + chain * (1 - 1 / slots) + 1e-9
    assert chain == max(paths_below(jobs))


@given(plans(), st.integers(1, 5))
def test_no_order_takes_less_than_the_lower_bound(jobs: JobGraph, slots: int) -> None:
    least = lower_bound(jobs, slots)
    assert least >= max(sum(jobs.seconds) / slots, *paths_below(jobs)) - 1e-9
    for ranks in (None, [-path for path in paths_below(jobs)], list(range(len(jobs)))):
        assert least <= makespan(jobs, slots, ranks) + 1e-9


def test_the_lower_bound_knows_that_a_wave_begins_and_ends_narrow() -> None:
    begins_narrow = JobGraph([[], [0], [0], [0], [0]], [10.0] * 5)
    assert lower_bound(begins_narrow, 2) == 30, "the first build alone, then four on two slots"
    ends_narrow = JobGraph([[], [], [], [], [0, 1, 2, 3]], [10.0] * 5)
    assert lower_bound(ends_narrow, 2) == 30


def by_hand(jobs: JobGraph, slots: int, ranks: list[float] | None) -> list[float]:
    """List scheduling as one would do it on paper."""
    places = [(0.0 if ranks is None else ranks[at], at) for at in range(len(jobs))]
    ready = [at for at in range(len(jobs)) if not jobs.after[at]]  # in the order in which they became so
    running: list[tuple[float, tuple[float, int]]] = []
    done: dict[int, float] = {}
    now = 0.0
    while ready or running:
        while ready and len(running) < slots:
            at = ready[0] if ranks is None else min(ready, key=places.__getitem__)
            ready.remove(at)
            running.append((now + jobs.seconds[at], places[at]))
        now, (_, at) = min(running)
        running.remove((now, places[at]))
        done[at] = now
        below = [child for child in range(len(jobs)) if at in jobs.after[child]]
        ready += [child for child in below if done.keys() >= {*jobs.after[child]}]
    return [done[at] for at in range(len(jobs))]


@given(plans(), st.integers(1, 5), st.randoms())
def test_every_job_ends_when_list_scheduling_by_hand_says_so(jobs: JobGraph, slots: int, dice: Random) -> None:
    ranks = [float(dice.randint(1, 5)) for _ in range(len(jobs))]
    assert list(ends(jobs, slots, ranks)) == by_hand(jobs, slots, ranks)
    assert list(ends(jobs, slots, None)) == by_hand(jobs, slots, None)
    assert makespan(jobs, slots, ranks) == max(by_hand(jobs, slots, ranks))


@pytest.mark.parametrize(("worse", "milder"), list(pairwise(Severity)))
def test_what_is_more_severe_goes_first(worse: Severity, milder: Severity) -> None:
    assert rank(1000, worse, 60) < rank(1000, milder, 7200)


def test_of_the_same_severity_the_longer_path_goes_first_then_the_older() -> None:
    assert rank(1000, Severity.LOW, 600) < rank(1000, Severity.LOW, 60)
    assert rank(1000, Severity.LOW, 60) < rank(1001, Severity.LOW, 60)


def test_nothing_starves() -> None:
    old = rank(0, Severity.UNSPECIFIED, 60)
    assert all(old < rank(5 * 24 * 3600, severity, 3600) for severity in Severity)
