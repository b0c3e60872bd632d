"""When a wave will be done, as the wave shows it, and what is said where nobody can know."""

from __future__ import annotations

import time

import pytest
from integration.workbench import Workbench, image
from sqlalchemy import Engine
from support.api_client import Client

from rebuilder.queries import forecast
from rebuilder.queries.forecast import Expected
from rebuilder.store.database import reading

FIX = "openssl-3.2.2-1.fc42"
SLOW = 5.0


def bench_of(store: Engine, slowness: float, expected: float = 100, count: int = 12) -> Workbench:
    """Independent images that are expected to take so many seconds, of which two are built at a time; and take more."""
    images = [image(f"image{at:02}", seconds=expected) for at in range(count)]
    bench = Workbench(store, images, max_builds=2, simulated={"speed": 1 / slowness})
    bench.clock.now = float(int(time.time()))  # the pages go by the wall's clock
    bench.tell(FIX)
    return bench


def expected(bench: Workbench) -> Expected:
    with reading(bench.store) as connection:
        return forecast.read(connection, bench.settings, bench.clock.now)


def seconds_left(bench: Workbench) -> tuple[float, float, float]:
    found = expected(bench)
    eta = found.forecast.of([one.entry.id for one in found.open])
    assert eta is not None
    return eta.low, eta.likely, eta.high


def test_what_is_left_is_scaled_by_what_the_wave_has_shown(store: Engine) -> None:
    bench = bench_of(store, SLOW)
    bench.passes()
    low, likely, high = seconds_left(bench)
    assert low < 600 < high, "twelve builds of 100 s, two at a time"
    bench.passes(3 * SLOW * 100)
    truth = 3 * SLOW * 100
    low, likely, high = seconds_left(bench)
    assert likely == pytest.approx(truth, rel=0.15)
    assert low <= truth <= high
    assert all(seconds == pytest.approx(SLOW * 100, rel=0.15) for seconds in expected(bench).paced.values())


def test_an_image_s_first_build_does_not_hide_how_wrong_the_expectation_was(store: Engine) -> None:
    bench = bench_of(store, 10, expected=4)
    bench.passes(2 * 45)
    assert sum(state == "succeeded" for _, state in bench.states()) == 4
    assert seconds_left(bench)[1] == pytest.approx(4 * 40, rel=0.35), "and not 16 s"


def test_a_build_that_runs_for_longer_than_builds_do_is_overdue(store: Engine) -> None:
    bench = bench_of(store, 1)
    bench.passes(320)
    assert not expected(bench).overdue
    bench.builder.poll = lambda refs: {}  # type: ignore[method-assign]  # it hangs from here on
    bench.passes(190)
    found = expected(bench)
    assert found.overdue == {one.entry.id for one in found.live} and len(found.live) == 2


def test_what_nobody_can_know_is_unknown_and_not_a_moment(store: Engine) -> None:
    bench = bench_of(store, 100_000, expected=0.04)
    bench.clock.now -= 3600
    bench.passes()
    bench.clock.now += 3600
    found = expected(bench)
    assert len(found.forecast.unknown) >= 2 and len(found.overdue) == 2
    client = Client(store, bench.settings)
    wave = client.reads("waves/1")
    assert (wave["eta"], wave["eta_earliest"], wave["eta_latest"]) == (None, None, None)
    assert wave["unknown"] >= 2 and any(one["overdue"] for one in wave["rebuilds"])
    page = client.http.get("/waves/1").text
    assert "<strong>unknown</strong>" in page and 'class="overdue"' in page
    assert "done at an unknown time" in client.http.get("/").text


def test_pages_and_api_say_a_range(store: Engine) -> None:
    bench = bench_of(store, 1)
    bench.passes()
    client = Client(store, bench.settings)
    wave = client.reads("waves/1")
    assert wave["eta_earliest"] < wave["eta"] < wave["eta_latest"] and wave["unknown"] == 0
    page = client.http.get("/waves/1").text
    assert "four times in five it is done between these" in page and ">between " in page
    assert "overdue" not in page
