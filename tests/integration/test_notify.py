"""Notifications on a real broker: what they tell of a wave, and what becomes of those that are refused."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from fedora_messaging.message import Message
from integration import notify_bus
from integration.notify_bus import FIX, ON, WORLD, Bus, happened, left, set_aside, told, topics
from integration.workbench import Given, Workbench, image
from sqlalchemy import Engine
from support import bus
from support.servers import control

from rebuilder.demo.broker import Broker
from rebuilder.domain.topics import Notice
from rebuilder.messages import LISTED

line = notify_bus.line


def one(messages: Sequence[Message], topic: str, **fields: object) -> Message:
    (found,) = [
        message for message in messages
        if message.topic.endswith(f".{topic}") and fields.items() <= message.body.items()
    ]  # fmt: skip
    return found


def test_a_consumer_gets_exactly_the_transitions_of_a_wave_in_order(line: Bus, store: Engine) -> None:
    bench = Workbench(store, WORLD, simulated={"failures": ("mid:f42",), "aborts": {"alone:f42": 1}}, **ON)
    bench.tell(FIX)
    bench.finish()
    found = line.publishes(store)
    assert told(found) == happened(store)
    assert happened(store)[bench.entry("alone").id] == ["queued", "building", "queued", "building", "succeeded"]
    assert topics(found)[0] == "wave.planned"
    assert topics(found)[-1] == "wave.finished"
    assert len({message.id for message in found}) == len(found) == 2 + sum(map(len, happened(store).values()))


def test_what_a_full_queue_does_not_take_is_sent_later_and_holds_up_nothing_else(line: Bus, store: Engine) -> None:
    bench = Workbench(store, WORLD, **ON)
    bench.tell(FIX)
    bench.finish()
    full = {"x-max-length": 1, "x-overflow": "reject-publish"}
    with bus.channel(line.broker) as opened:
        opened.queue_declare(f"full.{line.queue}", durable=True, arguments=full)
        opened.queue_bind(f"full.{line.queue}", "amq.topic", f"{line.prefix}.rebuilder.image.building")
        with line.publisher():
            bus.until(lambda: "is not taken" in line.log.read_text() and left(store) == 2 * 3)
            early = line.received()
            once = {message.id: message for message in early}  # what the other queue refused comes again
            assert topics([*once.values()])[-1] == "wave.finished"
            while left(store):
                opened.queue_purge(f"full.{line.queue}")
        opened.queue_delete(f"full.{line.queue}")
    assert told([*early, *line.received()]) == happened(store)


def test_what_the_broker_forbids_is_set_aside_with_the_reason(line: Bus, store: Engine) -> None:
    bench = Workbench(store, WORLD, **ON)
    bench.tell(FIX)
    bench.finish()
    allowed = rf"^{line.prefix}\.rebuilder\.(wave\..*|image\.(queued|succeeded))$".replace(".", r"\.", 1)
    line.configure(restricted(line.broker, allowed))
    found = line.publishes(store)
    assert set(topics(found)) == {"wave.planned", "wave.finished", "image.queued", "image.succeeded"}
    assert {(refused.notice, refused.image) for refused in set_aside(store)} == {
        (Notice.IMAGE_BUILDING, f"{name}:f42") for name in ("base", "mid", "app", "alone")
    }
    assert all("ACCESS_REFUSED" in refused.reason for refused in set_aside(store))


def restricted(broker: Broker, topics: str) -> str:
    """The URL of a new user who may publish nothing but these topics."""
    user = f"user{secrets.token_hex(4)}"
    control(broker, "add_user", user, "secret")
    control(broker, "set_permissions", user, ".*", ".*", ".*")
    control(broker, "set_topic_permissions", user, "amq.topic", topics, ".*")
    return broker.amqp_url.replace("guest:guest", f"{user}:secret")


def test_what_its_schema_refuses_is_set_aside_and_the_rest_is_sent(line: Bus, store: Engine) -> None:
    long = "x" * 230  # with its stream, too long for the name of a header
    bench = Workbench(store, [image(long), image("base")], notify={"enabled": True, "events": list(Notice)[2:]})
    bench.tell(FIX)
    bench.finish()
    found = line.publishes(store)
    assert {message.body["image"] for message in found} == {"base:f42"}
    assert {refused.image for refused in set_aside(store)} == {f"{long}:f42"}
    assert all("is too long" in refused.reason for refused in set_aside(store))


def test_a_wave_of_thousands_is_one_small_message(line: Bus, store: Engine) -> None:
    count = 2 * LISTED
    many: list[Given] = [image(f"{'long-name-' * 15}{number}") for number in range(count)]
    bench = Workbench(store, many, notify={"enabled": True, "events": ["wave.planned"]})
    bench.tell(FIX)
    bench.passes()
    (found,) = line.publishes(store)
    assert (found.body["rebuilds"], len(found.body["images"])) == (count, LISTED)
    assert found.packages == ["openssl"]


def test_a_message_tells_of_the_moment_however_late_it_is_sent(line: Bus, store: Engine) -> None:
    bench = Workbench(store, WORLD[:1], simulated={"failures": ("base:f42",)}, **ON)
    bench.tell(FIX)
    bench.finish()
    bench.builder._settings = bench.settings.simulated.model_copy(update={"failures": ()})
    bench.ask("retry", "base:f42")
    bench.clock.now += 100
    bench.finish()
    found = line.publishes(store)
    failed, succeeded = one(found, "image.failed"), one(found, "image.succeeded")
    assert (failed.body["reason"], failed.body["build"]) == ("simulated failure", None)
    assert failed.body["timing"]["ended"] == "1970-01-12T13:46:50.000Z"
    assert succeeded.body["build"]["nvr"].startswith("simulated-base-f42-")
    assert succeeded.body["reason"] == ""
    ends = [message.body for message in found if message.topic.endswith(".wave.finished")]
    assert [(end["counts"], end["stopped"]) for end in ends] == [
        ({"failed": 1}, [{"image": "base:f42", "state": "failed", "reason": "simulated failure"}]),
        ({"succeeded": 1}, []),
    ]


def test_an_operator_who_did_it_is_named(line: Bus, store: Engine) -> None:
    bench = Workbench(store, WORLD, **ON)
    bench.ask("rebuild", "base:f42", "alice")
    bench.passes()
    bench.ask("cancel", "base:f42", "bob")
    bench.finish()
    found = line.publishes(store)
    planned, canceled = one(found, "wave.planned"), one(found, "image.canceled")
    assert (planned.agent_name, planned.usernames) == ("alice", ["alice"])
    assert (canceled.agent_name, canceled.usernames) == ("bob", ["alice", "bob"])
    assert canceled.summary == "base:f42 is not rebuilt (wave 1): canceled: cancel by bob"
    assert one(found, "image.building").usernames == one(found, "wave.finished").usernames == ["alice"]


def test_a_wave_that_needs_approval_is_told_when_it_waits_and_when_it_begins(line: Bus, store: Engine) -> None:
    bench = Workbench(store, WORLD, policy=({"name": "ask", "action": "approve"},), **ON)
    bench.tell(FIX)
    bench.passes()
    bench.approve(1, "carol")
    bench.finish()
    found = line.publishes(store)
    waits, begins = one(found, "wave.planned", state="planned"), one(found, "wave.planned", state="running")
    assert (waits.body["rule"], waits.body["rebuilds"], waits.agent_name) == ("ask", 0, None)
    assert waits.packages == ["openssl"]
    assert (begins.body["rebuilds"], begins.agent_name) == (4, "carol")
    assert begins.containers == ["alone", "alone:f42", "app", "app:f42", "base", "base:f42", "mid", "mid:f42"]
