"""Notifications on a real broker: what happened, all of it, in order, and each under one id."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from fedora_messaging.exceptions import PublishReturned
from fedora_messaging.message import Message, get_message
from integration.workbench import Given, LoopClock, Workbench, image
from sqlalchemy import Engine, select
from support import bus
from support.freezing import freeze_between_transactions, thaw
from support.servers import control

from rebuilder.cli.publisher import giving_way
from rebuilder.demo.broker import Broker
from rebuilder.domain.lifecycle import State
from rebuilder.domain.topics import OF_STATE, Notice
from rebuilder.engine.publisher import BATCH, Publisher, Send
from rebuilder.messages import LISTED
from rebuilder.store import outbox
from rebuilder.store.database import reading
from rebuilder.store.lease import Candidate, LeaseLost, Role, read
from rebuilder.store.models import Transition
from rebuilder.store.outbox import RefusedNotice

FIX = "openssl-3.2.2-1.fc42"
ON = {"notify": {"enabled": True}}
WORLD = (image("base"), image("mid", "base"), image("app", "mid"), image("alone"))
CONFIGURATION = """amqp_url = "{url}"
topic_prefix = "{prefix}"

[consumer_config]
database_url = "{database}"
poll_seconds = 0.05

[consumer_config.notify]
enabled = true
url = "https://rebuilder.example.org/"
"""
Told = dict[int, list[str]]


class Bus:
    """A topic prefix of its own, and a durable queue that gets all that is published under it."""

    def __init__(self, broker: Broker, folder: Path, database: str) -> None:
        self.broker = broker
        self.prefix = f"test.{secrets.token_hex(4)}"
        self.queue = f"q.{self.prefix}"
        self.configuration = folder / "config.toml"
        self.log = folder / "publisher.log"
        self.database = database
        self.configure(broker.amqp_url)
        with bus.channel(broker) as opened:
            opened.queue_declare(self.queue, durable=True)
            opened.queue_bind(self.queue, "amq.topic", f"{self.prefix}.#")

    def configure(self, url: str) -> None:
        text = CONFIGURATION.format(url=url, prefix=self.prefix, database=self.database)
        self.configuration.write_text(text, encoding="utf-8")

    @contextmanager
    def publisher(self) -> Iterator[subprocess.Popen[bytes]]:
        """The publisher's process, which ends when its input does."""
        command = [sys.executable, "-m", "rebuilder", "--config", str(self.configuration), "notify", "--beside"]
        with self.log.open("ab") as output, subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=output, stderr=output
        ) as child:
            try:
                yield child
                assert child.stdin is not None
                child.stdin.close()
                child.wait(30)
            finally:
                child.kill()
        assert "Traceback" not in self.log.read_text()

    def publishes(self, store: Engine) -> list[Message]:
        """All that came after everything was published."""
        with self.publisher():
            bus.until(lambda: not left(store))
        return self.received()

    def received(self) -> list[Message]:
        """All that came, validated by its schema."""
        found = []
        with bus.channel(self.broker) as opened:
            while (got := opened.basic_get(self.queue, auto_ack=True))[0] is not None:
                found.append(get_message(got[0].routing_key, got[1], got[2]))
        return found


@pytest.fixture
def line(broker: Broker, tmp_path: Path, database_url: str) -> Bus:
    return Bus(broker, tmp_path, database_url)


def left(store: Engine) -> int:
    with reading(store) as connection:
        return outbox.waiting(connection)


def owner(store: Engine) -> str:
    with reading(store) as connection:
        return read(connection, Role.PUBLISHER).owner


def set_aside(store: Engine) -> list[RefusedNotice]:
    with reading(store) as connection:
        return outbox.set_aside(connection, 100)[1]


def happened(store: Engine) -> Told:
    """The states that each rebuild came into, in order, as its story has them: those that are announced."""
    query = select(Transition.rebuild_id, Transition.state).order_by(Transition.id)
    found: Told = {}
    with reading(store) as connection:
        for rebuild_id, state in connection.execute(query):
            if State(state) in OF_STATE:
                found.setdefault(rebuild_id, []).append(state)
    return found


def told(messages: Sequence[Message]) -> Told:
    """The same as the messages have it; what came twice counts once, and must be the same."""
    found: Told = {}
    known: dict[str, Message] = {}
    for message in messages:
        first = known.setdefault(message.id, message)
        assert first.body == message.body
        if first is message and "rebuild" in message.body:
            assert message.topic.endswith(f"rebuilder.image.{message.body['state']}")
            found.setdefault(message.body["rebuild"], []).append(message.body["state"])
    return found


def topics(messages: Sequence[Message]) -> list[str]:
    return [message.topic.partition("rebuilder.")[2] for message in messages]


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


def test_a_broker_that_dies_in_mid_wave_costs_no_message(
    mortal_broker: Broker, tmp_path: Path, database_url: str, store: Engine
) -> None:
    line = Bus(mortal_broker, tmp_path, database_url)
    images = [image("base"), *(image(f"app{number}", "base") for number in range(50))]
    bench = Workbench(store, images, max_builds=10, **ON)
    bench.tell(FIX)
    found = []
    with line.publisher():
        bench.passes(30)
        bus.until(lambda: left(store) < 20)
        found += line.received()
        bench.passes(10)
        mortal_broker.kill()
        bench.finish()
        bus.until(lambda: "the broker cannot be reached" in line.log.read_text())
        assert left(store)
        mortal_broker.start()
        bus.until(lambda: not left(store))
    found += line.received()
    assert told(found) == happened(store)
    assert topics(found)[-1] == "wave.finished"


@contextmanager
def unforgetting(store: Engine) -> Iterator[None]:
    """A database that lets no letter go."""
    says = {
        "sqlite": ("CREATE TRIGGER stays BEFORE DELETE ON outbox BEGIN SELECT RAISE(ABORT, 'not now'); END",),
        "postgresql": (
            "CREATE FUNCTION stays() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'not now'; END$$",
            "CREATE TRIGGER stays BEFORE DELETE ON outbox FOR EACH ROW EXECUTE FUNCTION stays()",
        ),
    }
    with store.begin() as connection:
        for statement in says[store.dialect.name]:
            connection.exec_driver_sql(statement)
    again = "DROP TRIGGER stays" + (" ON outbox" if store.dialect.name == "postgresql" else "")
    try:
        yield
    finally:
        with store.begin() as connection:
            connection.exec_driver_sql(again)


def test_a_publisher_that_is_killed_sends_again_under_the_same_id(line: Bus, store: Engine) -> None:
    bench = Workbench(store, [image(f"app{number}") for number in range(40)], max_builds=40, **ON)
    bench.tell(FIX)
    bench.finish()
    everything = left(store)
    assert everything > BATCH, "there is more than one batch"
    with pytest.raises(AssertionError, match="killed"), unforgetting(store), line.publisher() as child:
        bus.until(lambda: "not now" in line.log.read_text())  # the broker has a batch, the database does not know
        child.send_signal(signal.SIGKILL)
        raise AssertionError("killed")
    found = line.received()
    assert len(found) == BATCH
    found += line.publishes(store)
    assert len(found) > everything
    assert len({message.id for message in found}) == everything
    assert told(found) == happened(store)


def test_two_publishers_never_send_at_the_same_time(line: Bus, store: Engine) -> None:
    bench = Workbench(store, [image(f"app{number}") for number in range(40)], max_builds=40, **ON)
    bench.tell(FIX)
    bench.finish()
    everything = left(store)
    assert everything > BATCH, "there is more than one batch"
    with line.publisher(), line.publisher():
        bus.until(lambda: not left(store))
    assert len(line.received()) == everything


def test_a_publisher_that_is_stopped_is_followed_by_another_and_sends_nothing_more(line: Bus, store: Engine) -> None:
    bench = Workbench(store, [image(f"app{number}") for number in range(20)], max_builds=20, **ON)
    with line.publisher() as first:
        bus.until(lambda: owner(store))
        freeze_between_transactions(first.pid, store)
        try:
            bench.tell(FIX)
            bench.finish()
            everything = left(store)
            with line.publisher():
                bus.until(lambda: not left(store))
                thaw([first.pid])
                bus.until(lambda: "another publisher acts on this database: this one stands by" in line.log.read_text())
        finally:
            thaw([first.pid])
    found = line.received()
    assert len(found) == everything and told(found) == happened(store)
    assert owner(store) == "", "each lets go of the lease when it ends"


def test_a_publisher_that_lost_its_lease_takes_nothing_out_of_the_outbox(store: Engine) -> None:
    bench = Workbench(store, WORLD, **ON)
    bench.tell(FIX)
    bench.finish()
    everything, sent = left(store), list[Message]()
    term = Candidate(store, "first", role=Role.PUBLISHER).try_acquire()
    assert term is not None
    term.release()
    assert Candidate(store, "second", role=Role.PUBLISHER).try_acquire() is not None
    with pytest.raises(LeaseLost):
        Publisher(term.engine, bench.settings, confirming(sent)).run(threading.Event())
    assert (left(store), sent) == (everything, [])


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


def test_what_is_about_the_same_stays_in_order_however_slow_the_broker_is(store: Engine) -> None:
    bench = Workbench(store, WORLD, **ON)
    bench.tell(FIX)
    bench.finish()
    times: Counter[str] = Counter()
    taken: list[Message] = []

    def send(message: Message) -> None:
        bench.clock.now += 100
        times[message.id] += 1
        if message.topic.endswith(".queued") and times[message.id] == 1:
            raise PublishReturned("full")
        taken.append(message)

    publisher = Publisher(store, bench.settings, lambda message: partial(send, message), clock=LoopClock(bench.clock))
    while left(store):
        publisher.once(threading.Event())
        bench.clock.now += 100
    assert told(taken) == happened(store)


def confirming(taken: list[Message]) -> Send:
    """A broker that confirms all that it takes."""
    return lambda message: partial(taken.append, message)


class Waits(threading.Event):
    """Says to stop when there is nothing left to send, and keeps what was waited for."""

    def __init__(self, last: float) -> None:
        super().__init__()
        self.last = last
        self.seconds: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout)
        if timeout == self.last:
            self.set()
        return self.is_set()


def test_between_two_batches_the_publisher_rests_as_long_as_it_is_told_to(store: Engine) -> None:
    bench = Workbench(store, [image(f"app{number}") for number in range(70)], max_builds=70, **ON)
    bench.tell(FIX)
    bench.finish()
    assert left(store) == 3 * 70 + 2
    rests, taken, stop = iter([7.0, 0.0, 7.0]), list[Message](), Waits(bench.settings.poll_seconds)
    clock = LoopClock(bench.clock)
    publisher = Publisher(store, bench.settings, confirming(taken), rest=lambda: next(rests), clock=clock)
    publisher.run(stop)
    assert stop.seconds == [7.0, 0.0, 7.0, bench.settings.poll_seconds]
    assert told(taken) == happened(store)


def test_the_publisher_gives_way_to_an_engine_that_is_busy_and_to_no_other() -> None:
    busy = "import time; began = time.monotonic()\nwhile time.monotonic() < began + 60: pass"
    with subprocess.Popen([sys.executable, "-c", busy]) as engine:
        rest = giving_way(engine.pid)
        bus.until(lambda: rest() > 0)
        engine.send_signal(signal.SIGSTOP)
        bus.until(lambda: rest() == 0)
        engine.send_signal(signal.SIGCONT)
        bus.until(lambda: rest() > 0)
        engine.kill()
    assert rest() == 0


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


def test_a_publisher_whose_engine_is_gone_ends(line: Bus, store: Engine) -> None:
    reader, writer = os.pipe()
    command = [sys.executable, "-m", "rebuilder", "--config", str(line.configuration), "notify", "--beside"]
    with subprocess.Popen(command, stdin=reader) as child:
        os.close(reader)
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(3)
        os.close(writer)
        assert child.wait(30) == 0
