"""Live pages: what tells them that something has changed, for how little, and whom."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from integration.workbench import CHAIN, Workbench
from sqlalchemy import Engine, event

from rebuilder.domain.command import Command
from rebuilder.engine import commands
from rebuilder.store import change_cursor
from rebuilder.store.change_cursor import Difference, Mark
from rebuilder.store.database import reading
from rebuilder.web import sse
from rebuilder.web.sse import Broadcaster, Interest


def mark(store: Engine) -> Mark:
    with reading(store) as connection:
        return change_cursor.read(connection)


def difference(store: Engine, before: Mark) -> Difference:
    with reading(store) as connection:
        return change_cursor.difference(connection, before, change_cursor.read(connection))


def test_nothing_changes_while_nothing_happens(store: Engine) -> None:
    bench = Workbench(store, CHAIN)
    before = mark(store)
    bench.passes()
    assert mark(store) == before
    assert difference(store, before) == Difference()


def test_a_message_is_news_for_the_overview_alone(store: Engine) -> None:
    bench = Workbench(store, CHAIN)
    before = mark(store)
    bench.tell("nothing-1-1.fc41")
    found = difference(store, before)
    assert found == Difference(messages=True)
    assert Interest().is_met_by(found)
    assert not Interest(wave=1).is_met_by(found)
    assert not Interest(image=1).is_met_by(found)


def test_a_step_is_news_for_its_wave_and_its_image(store: Engine) -> None:
    bench = Workbench(store, CHAIN)
    bench.tell("openssl-3.2.2-1.fc42")
    bench.passes()
    before = mark(store)
    bench.clock.now += 11
    bench.passes()
    found = difference(store, before)
    assert found.waves == {1}
    assert found.images
    assert Interest(wave=1).is_met_by(found)
    assert not Interest(wave=2).is_met_by(found)
    assert not Interest(image=999).is_met_by(found)
    assert all(Interest(image=ident).is_met_by(found) for ident in found.images)


def test_the_end_of_a_wave_and_an_operators_decision_are_news(store: Engine) -> None:
    bench = Workbench(store, CHAIN)
    bench.tell("openssl-3.2.2-1.fc42")
    bench.passes()
    before = mark(store)
    bench.finish()
    assert 1 in difference(store, before).waves
    before = mark(store)
    with store.begin() as connection:
        commands.give(connection, Command("hold", "app:f42", "ann"), bench.clock.now)
    found = difference(store, before)
    assert found.others
    assert Interest(wave=7).is_met_by(found), "whatever is shown may be held now"


async def listeners(hub: Broadcaster, count: int, interest: Interest) -> list[AsyncIterator[Mark]]:
    """So many who listen, and have heard how things stood when they came."""
    found = [hub.listen(interest) for _ in range(count)]
    await asyncio.gather(*(anext(one) for one in found))
    return found


def test_one_look_serves_all_who_listen_and_none_is_made_for_nobody(
    store: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "LOOK_SECONDS", 0.05)
    bench = Workbench(store, CHAIN)
    looks: list[float] = []
    event.listen(store, "begin", lambda connection: looks.append(time.monotonic()))

    async def run() -> None:
        hub = Broadcaster(store)
        await asyncio.sleep(0.2)
        assert looks == []
        found = await listeners(hub, 50, Interest())
        began = len(looks)
        await asyncio.sleep(0.5)
        assert 1 <= len(looks) - began <= 11, "ten at the most in that time, not one for each of fifty"
        waiting = [asyncio.ensure_future(anext(one)) for one in found]
        await asyncio.to_thread(bench.tell, "openssl-3.2.2-1.fc42")
        told = await asyncio.wait_for(asyncio.gather(*waiting), 10)
        assert set(told) == {mark(store)}
        for one in found:
            await one.aclose()  # type: ignore[attr-defined]
        assert hub.listeners == 0
        await asyncio.sleep(0.2)
        after = len(looks)
        await asyncio.sleep(0.3)
        assert len(looks) == after

    asyncio.run(run())


def test_who_shows_another_wave_hears_nothing(store: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "LOOK_SECONDS", 0.05)
    bench = Workbench(store, CHAIN)
    bench.tell("openssl-3.2.2-1.fc42")
    bench.passes()

    async def run() -> None:
        hub = Broadcaster(store)
        (mine,) = await listeners(hub, 1, Interest(wave=1))
        (other,) = await listeners(hub, 1, Interest(wave=2))
        hearing, idle = asyncio.ensure_future(anext(mine)), asyncio.ensure_future(anext(other))
        bench.clock.now += 11
        await asyncio.to_thread(bench.passes)
        await asyncio.wait_for(hearing, 10)
        await asyncio.sleep(0.2)
        assert not idle.done()
        hub.close()
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(idle, 10)

    asyncio.run(run())


def test_there_is_a_limit_to_how_many_listen(store: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MOST_LISTENERS", 2)

    async def run() -> None:
        hub = Broadcaster(store)
        found = await listeners(hub, 2, Interest())
        assert hub.full
        await found[0].aclose()  # type: ignore[attr-defined]
        assert not hub.full
        await found[1].aclose()  # type: ignore[attr-defined]

    asyncio.run(run())
