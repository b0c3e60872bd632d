"""Calls that are given only so long."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from rebuilder.builders.crew import Call, all_of
from rebuilder.domain.build import InfrastructureError


def test_the_answers_come_in_the_order_of_the_calls() -> None:
    calls: list[Callable[[], int]] = [lambda number=number: number * number for number in range(50)]  # type: ignore[misc]
    assert all_of(calls, 60) == [number * number for number in range(50)]
    assert all_of([], 60) == []


def test_only_so_many_are_made_at_one_time() -> None:
    lock, now, most = threading.Lock(), 0, 0

    def call() -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        with lock:
            now -= 1

    all_of([call] * 100, 60, size=3)
    assert 1 <= most <= 3


def test_an_exception_of_one_call_is_the_answer_of_all() -> None:
    def bad() -> int:
        raise InfrastructureError("no")

    with pytest.raises(InfrastructureError, match="no"):
        all_of([lambda: 1, bad, lambda: 2], 60)


def test_what_takes_too_long_is_left_alone_and_its_answer_can_be_had_later() -> None:
    going = threading.Event()
    call = Call(lambda: going.wait(60)).begin()
    with pytest.raises(InfrastructureError, match=r"no answer within 0\.01 s"):
        call.result(0.01)
    with pytest.raises(InfrastructureError, match="no answer within 5 s"):
        call.result(5, waited=5)
    going.set()
    assert call.result(60) is True
    assert call.ended
