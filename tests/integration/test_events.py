"""Events for scripts: typed, with ids, and all of those that were missed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import pytest
from integration.workbench import Workbench
from sqlalchemy import Engine

from rebuilder.web import api_events, sse
from rebuilder.web.app import create_app


@pytest.fixture
def bench(store: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workbench]:
    monkeypatch.setattr(sse, "LOOK_SECONDS", 0.05)
    found = Workbench(store, simulated={"failures": ["mid:f42"]})
    found.tell("openssl-3.2.2-1.fc42")
    found.finish()
    yield found


def events(bench: Workbench, last: int | None, count: int, wave: int | None = None) -> list[tuple[str, str, dict]]:  # type: ignore[type-arg]
    """The first events that a client gets, with their types and ids."""

    async def listen() -> list[tuple[str, str, dict]]:  # type: ignore[type-arg]
        app = create_app(bench.store, bench.settings)
        found = []
        stream: AsyncIterator = api_events.stream_events(app.state.hub, bench.store, wave, last)  # type: ignore[type-arg]
        async with aclosing(stream) as following:  # type: ignore[type-var]
            async for event in following:
                found.append((event.event, event.id, json.loads(event.raw_data)))
                if len(found) == count:
                    return found
        raise AssertionError

    return asyncio.run(asyncio.wait_for(listen(), 10))


def test_a_client_that_says_the_last_id_gets_all_that_came_after_it_in_order(bench: Workbench) -> None:
    everything = events(bench, 0, 8)
    assert {kind for kind, _, _ in everything} == {"rebuild"}
    ids = [int(ident) for _, ident, _ in everything]
    assert ids == sorted(set(ids))
    assert everything[0][2]["event"] == "planned"
    assert {"image", "wave", "state", "reason", "at", "rebuild"} <= everything[0][2].keys()
    assert events(bench, ids[3], 4) == everything[4:8]


def test_more_than_a_batch_is_caught_up_without_waiting_for_something_to_happen(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = events(bench, 0, 12)
    monkeypatch.setattr("rebuilder.queries.events.MOST", 3)
    assert events(bench, 0, 12) == whole


def test_a_client_that_has_ids_of_before_a_restored_backup_hears_what_happens_next(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest, reached = int(events(bench, 0, 12)[-1][1]), api_events._reached

    def then_go_on(store: Engine, last: int) -> int:
        found = reached(store, last)
        bench.tell("openssl-3.2.3-1.fc42")
        bench.passes()
        return found

    monkeypatch.setattr(api_events, "_reached", then_go_on)
    assert [event["event"] for _, _, event in events(bench, newest + 1000, 1)] == ["planned"]


def test_one_wave_is_followed_alone(bench: Workbench) -> None:
    bench.ask("rebuild", "alone:f42")
    bench.finish()
    assert {data["wave"] for _, _, data in events(bench, 0, 5, wave=2)} == {2}
