"""The wall's clock is set while the engine runs, or while none does: what waits goes on as if it had not been."""

from __future__ import annotations

import time

import pytest
from integration.workbench import LoopClock, Workbench, image
from sqlalchemy import Engine

from rebuilder.store import heartbeats
from rebuilder.store.database import reading

FIX = "openssl-3.2.2-1.fc42"
DAY, TEN_MINUTES = 86400.0, 600.0
JUMPS = [-TEN_MINUTES, DAY, -DAY, 3 * DAY]


def set_clock(bench: Workbench, seconds: float) -> None:
    assert isinstance(bench.loop.clock, LoopClock)
    bench.loop.clock.set = seconds


@pytest.mark.parametrize("jump", JUMPS)
def test_what_settles_settles_in_its_time(store: Engine, jump: float) -> None:
    bench = Workbench(store, [image("app")], settle_seconds=60)
    bench.tell(FIX)
    bench.passes(10)
    set_clock(bench, jump)
    bench.passes(40)
    assert bench.submitted() == [], "further updates are waited for, for a minute"
    bench.passes(30)
    assert bench.submitted() == ["app"]


@pytest.mark.parametrize("jump", JUMPS)
def test_the_next_attempt_is_made_in_its_time(store: Engine, jump: float) -> None:
    bench = Workbench(store, [image("app", seconds=5)], simulated={"aborts": {"app:f42": 1}}, retry_seconds=100)
    bench.tell(FIX)
    bench.passes(20)
    assert bench.states() == [("app", "queued")]
    set_clock(bench, jump)
    bench.passes(10)
    assert bench.submitted() == ["app"]
    bench.passes(100)
    assert bench.submitted() == ["app", "app"]


def test_what_was_noticed_before_the_clock_was_set_back_while_no_engine_ran_is_not_waited_for(store: Engine) -> None:
    bench = Workbench(store, [image("app")], settle_seconds=60)
    bench.tell(FIX)
    bench.passes(10)
    bench.restart()
    set_clock(bench, -DAY)
    bench.passes(70)
    assert bench.submitted() == ["app"]


def test_builds_are_polled_at_their_pace_and_end_by_their_own_time(store: Engine) -> None:
    bench = Workbench(store, [image("base", seconds=50), image("app", "base", seconds=50)], time_limit=100)
    bench.tell(FIX)
    for number in range(24):
        set_clock(bench, [0.0, -TEN_MINUTES, DAY][number % 3])
        bench.passes(5)
    assert bench.states() == [("base", "succeeded"), ("app", "succeeded")]
    assert {entry.attempt for entry in bench.rebuilds()} == {1}


def test_an_engine_that_ended_is_missed_although_the_clock_was_set_back(store: Engine) -> None:
    with store.begin() as connection:
        heartbeats.record_heartbeat(connection, "engine", 1.0, time.time() + TEN_MINUTES)
    with reading(store) as connection:
        assert heartbeats.read(connection)["engine"].late(time.time())
