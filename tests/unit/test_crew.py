"""Calls that are given only so long."""

from __future__ import annotations

import threading

import pytest

from rebuilder.builders.crew import Call
from rebuilder.domain.build import InfrastructureError


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
