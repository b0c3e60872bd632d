"""The outbox: what is written into it, and for how long it is kept. No broker is needed."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import pytest
from fedora_messaging.message import Message
from integration.test_engine_crashes import dying_at, live_again
from integration.test_notify import FIX, ON, WORLD, Told, confirming, happened, left, set_aside
from integration.workbench import Workbench
from sqlalchemy import Engine, select

from rebuilder.domain.lifecycle import State
from rebuilder.domain.notice import Notice, RebuildFacts
from rebuilder.engine.notify import Publisher
from rebuilder.store import outbox
from rebuilder.store.database import reading
from rebuilder.store.models import Rebuild
from rebuilder.store.outbox import StateChange


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, set()),
        ({"notify": {"enabled": False, "events": ["image.failed"]}}, set()),
        ({"notify": {"enabled": True}, "dry_run": True}, set()),
        ({"notify": {"enabled": True, "events": ["image.succeeded", "wave.finished"]}},
         {Notice.IMAGE_SUCCEEDED, Notice.WAVE_FINISHED}),
    ],
)  # fmt: skip
def test_only_what_the_settings_name_is_announced(
    store: Engine, settings: Mapping[str, object], expected: set[Notice]
) -> None:
    bench = Workbench(store, WORLD, **settings)
    bench.tell(FIX)
    bench.finish()
    with reading(store) as connection:
        assert {letter.notice for letter in outbox.unsent(connection, 100)} == expected


def test_a_step_that_is_taken_back_is_not_announced(store: Engine) -> None:
    bench = Workbench(store, WORLD, **ON)
    bench.tell(FIX)
    bench.passes()
    before = left(store)
    entry = bench.entry("base")
    with pytest.raises(ZeroDivisionError), bench.loop.engine.begin() as connection:
        change = StateChange(entry.id, entry.wave_id, State.SUCCEEDED, RebuildFacts(attempt=1))
        outbox.came_into(connection, [change], 0)
        raise ZeroDivisionError
    assert left(store) == before


@pytest.mark.parametrize(("settings", "time"), [({}, 90), ({"retention": {"notification_days": 7}}, 7)])
def test_what_was_set_aside_is_forgotten_in_time(store: Engine, settings: Mapping[str, object], time: int) -> None:
    bench = Workbench(store, WORLD, **ON, **settings)
    bench.tell(FIX)
    bench.finish()
    with store.begin() as connection:
        letters = outbox.unsent(connection, 100)
        outbox.refuse(connection, {letter.seq: "never" for letter in letters}, bench.clock.now)
    sent: list[Message] = []
    for days, kept in ((time - 0.1, len(letters)), (time + 0.1, 0)):
        now = bench.clock.now + days * 86400
        Publisher(store, bench.settings, confirming(sent), clock=lambda now=now: now).once(threading.Event())
        assert (len(set_aside(store)), sent) == (kept, [])


def test_every_state_of_a_story_is_in_the_outbox_wherever_the_engine_died(store: Engine) -> None:
    for place in range(100):
        bench = Workbench(store, WORLD[:2], **ON)
        bench.tell(f"openssl-3.2.{place + 2}-1.fc42")
        bench.builder.before = dying_at(place)
        deaths = live_again(bench)
        if not deaths:
            break
    written: Told = {}
    with reading(store) as connection:
        for letter in outbox.unsent(connection, 10_000):
            if letter.rebuild_id is not None:
                written.setdefault(letter.rebuild_id, []).append(letter.notice.removeprefix("image."))
        assert set(written) == set(connection.scalars(select(Rebuild.id)))
    assert place > 3
    assert written == happened(store)
