"""Calls beside the loop: their places, their time limits, and what becomes of those that hang."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import pytest

from rebuilder.config import CallSettings
from rebuilder.domain.errors import InfrastructureError
from rebuilder.engine.calls import Answer, Calls, Kind, Outstanding

POLL, SUBMIT = Kind.POLL, Kind.SUBMIT


class Hand(Executor):
    """Calls that end when the test says so, and a clock that it moves."""

    def __init__(self) -> None:
        self.time = 0.0
        self.futures: list[Future[Any]] = []

    def now(self) -> float:
        return self.time

    monotonic = now

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.futures.append(Future())
        return self.futures[-1]


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def calls(hand: Hand) -> Calls:
    return Calls(CallSettings(at_once=2, poll_seconds=60, submit_seconds=300), hand, hand)


def nothing() -> None:
    raise AssertionError


def test_an_answer_comes_with_its_subject_and_how_long_it_took(calls: Calls, hand: Hand) -> None:
    assert calls.start(POLL, "a", nothing)
    assert calls.answers() == []
    hand.time = 5
    hand.futures[0].set_result("fine")
    assert calls.answers() == [Answer(POLL, "a", "fine", seconds=5)]
    assert calls.answers() == []
    assert calls.outstanding() == {}


@pytest.mark.parametrize("kind", list(Kind))
def test_each_kind_of_calls_has_a_time_limit(kind: Kind) -> None:
    assert CallSettings().seconds_for(kind) > 0


def test_an_exception_is_an_answer(calls: Calls, hand: Hand) -> None:
    calls.start(POLL, "a", nothing)
    error = InfrastructureError("no route to host")
    hand.futures[0].set_exception(error)
    (answer,) = calls.answers()
    assert (answer.value, answer.error) == (None, error)


def test_there_is_one_call_about_a_subject_and_so_many_of_a_kind(calls: Calls, hand: Hand) -> None:
    assert calls.start(POLL, "a", nothing)
    assert not calls.start(POLL, "a", nothing)
    assert calls.start(POLL, "b", nothing)
    assert not calls.start(POLL, "c", nothing)
    assert calls.start(SUBMIT, "a", nothing), "another kind has places of its own"
    hand.futures[0].set_result(None)
    calls.answers()
    assert calls.start(POLL, "c", nothing)


def test_a_call_that_hangs_is_told_once_and_gives_its_place_back(calls: Calls, hand: Hand) -> None:
    calls.start(POLL, "a", nothing)
    hand.time = 59
    assert calls.answers() == []
    hand.time = 60
    (answer,) = calls.answers()
    assert (answer.overdue, str(answer.error)) == (True, "no answer within 60 s")
    assert calls.answers() == []
    assert calls.room(POLL) == 2
    assert calls.start(POLL, "a", nothing), "it may be asked again"
    assert calls.outstanding() == {POLL: Outstanding(2, 1, 60)}


def test_ten_calls_that_hang_do_not_become_a_thousand(calls: Calls, hand: Hand) -> None:
    started = 0
    for _ in range(20):
        started += calls.start(POLL, "a", nothing)
        hand.time += 60
        calls.answers()
    assert started == 4, "as many again as there are places: more would only hang too"
    hand.futures[0].set_result(None)
    calls.answers()
    assert calls.room(POLL) == 1


def test_a_late_answer_still_comes(calls: Calls, hand: Hand) -> None:
    calls.start(POLL, "a", nothing)
    hand.time = 100
    calls.answers()
    hand.futures[0].set_result("fine")
    (answer,) = calls.answers()
    assert (answer.value, answer.late) == ("fine", True)


def test_an_overdue_submission_is_never_made_a_second_time(calls: Calls, hand: Hand) -> None:
    calls.start(SUBMIT, "a", nothing)
    hand.time = 300
    assert calls.answers()[0].overdue
    assert calls.is_out(SUBMIT, "a")
    assert not calls.start(SUBMIT, "a", nothing)
    hand.futures[0].set_result(None)
    calls.answers()
    assert not calls.is_out(SUBMIT, "a")


def test_the_clock_of_a_long_call_begins_anew_with_its_progress(calls: Calls, hand: Hand) -> None:
    calls.start(POLL, "a", nothing)
    hand.time = 50
    calls.heard_of(POLL, "a")
    calls.heard_of(POLL, "of nobody")
    hand.time = 100
    assert calls.answers() == []
    hand.time = 110
    assert calls.answers()[0].overdue


def test_waiting_ends_with_the_first_answer() -> None:
    class System:
        def now(self) -> float:
            return 0.0

        monotonic = now

    calls = Calls(CallSettings(), System())
    release = threading.Event()
    calls.start(POLL, "a", lambda: release.wait(60))
    calls.wait(0.01)
    assert calls.ready == 0
    release.set()
    calls.wait(60)
    assert [answer.value for answer in calls.answers()] == [True]
    assert calls.close(lambda: None)


def test_closing_does_not_wait_for_a_call_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    class System:
        def now(self) -> float:
            return 0.0

        monotonic = now

    monkeypatch.setattr("rebuilder.engine.calls.CLOSE_SECONDS", 0.05)
    release = threading.Event()
    calls = Calls(CallSettings(), System())
    calls.start(POLL, "a", lambda: release.wait(60))
    assert not calls.close(lambda: None)
    release.set()
