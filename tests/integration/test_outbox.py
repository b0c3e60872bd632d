"""The outbox: what is written into it, and for how long it is kept. No broker is needed."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import pytest
from fedora_messaging.exceptions import PublishForbidden
from fedora_messaging.message import Message
from integration.notify_bus import FIX, ON, WORLD, Told, confirming, happened, left, set_aside, told
from integration.test_engine_crashes import dying_at, live_again
from integration.workbench import LoopClock, Workbench, image
from sqlalchemy import Engine, select

from rebuilder.domain.lifecycle import State
from rebuilder.domain.topics import Notice, StateFacts
from rebuilder.engine.publisher import Outcome, Publisher
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
        change = StateChange(entry.id, entry.wave_id, State.SUCCEEDED, StateFacts(attempt=1))
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
    began = bench.clock.now
    for days, kept in ((time - 0.1, len(letters)), (time + 0.1, 0)):
        bench.clock.now = began + days * 86400
        Publisher(store, bench.settings, confirming(sent), clock=LoopClock(bench.clock)).once(threading.Event())
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


def test_many_are_on_their_way_but_of_what_is_about_the_same_only_one(store: Engine) -> None:
    bench = Workbench(store, [image(f"app{number}") for number in range(130)], max_builds=130, **ON)
    bench.tell(FIX)
    bench.finish()
    flying: list[Message] = []
    most, taken = 0, list[Message]()

    def send(message: Message) -> Outcome:
        nonlocal most
        wave = "rebuild" not in message.body
        assert not any(wave or other.body.get("rebuild") in (None, message.body["rebuild"]) for other in flying)
        flying.append(message)
        most = max(most, len(flying))

        def outcome() -> None:
            flying.remove(message)
            taken.append(message)

        return outcome

    publisher = Publisher(store, bench.settings, send, clock=LoopClock(bench.clock))
    while left(store):
        publisher.once(threading.Event())
        assert not flying
    assert 50 < most <= 100
    assert told(taken) == happened(store)


def test_one_that_is_forbidden_takes_no_other_with_it(store: Engine) -> None:
    """As RabbitMQ does: it closes the channel, which ends all that is on it."""
    bench = Workbench(store, [image(f"app{number}") for number in range(20)], max_builds=20, **ON)
    bench.tell(FIX)
    bench.finish()
    taken: list[Message] = []
    flying: list[Message] = []
    closed: set[str] = set()

    def send(message: Message) -> Outcome:
        flying.append(message)
        if message.topic.endswith(".building"):
            closed.update(other.id for other in flying)

        def outcome() -> None:
            flying.remove(message)
            if message.id in closed:
                closed.discard(message.id)
                raise PublishForbidden("ACCESS_REFUSED")
            taken.append(message)

        return outcome

    publisher = Publisher(store, bench.settings, send, clock=LoopClock(bench.clock))
    while left(store):
        publisher.once(threading.Event())
    assert {refused.notice for refused in set_aside(store)} == {Notice.IMAGE_BUILDING}
    assert len(set_aside(store)) == 20
    kept = {ident: [state for state in states if state != "building"] for ident, states in happened(store).items()}
    assert told(taken) == kept
