"""The publisher: all that happened, in order, and each under one id, whoever dies or is slow."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from fedora_messaging.exceptions import PublishReturned
from fedora_messaging.message import Message
from integration import notify_bus
from integration.notify_bus import FIX, ON, WORLD, Bus, confirming, happened, left, told, topics
from integration.workbench import LoopClock, Workbench, image
from sqlalchemy import Engine
from support import bus
from support.freezing import freeze_between_transactions, thaw

from rebuilder.cli.publisher import giving_way
from rebuilder.demo.broker import Broker
from rebuilder.engine.publisher import BATCH, Publisher
from rebuilder.store.database import reading
from rebuilder.store.lease import Candidate, LeaseLost, Role, read

line = notify_bus.line


def owner(store: Engine) -> str:
    with reading(store) as connection:
        return read(connection, Role.PUBLISHER).owner


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


def more_than_a_batch(store: Engine) -> int:
    """A finished wave, of which nothing is told yet; how many notifications that makes."""
    bench = Workbench(store, [image(f"app{number}") for number in range(40)], max_builds=40, **ON)
    bench.tell(FIX)
    bench.finish()
    everything = left(store)
    assert everything > BATCH, "there is more than one batch"
    return everything


def test_a_publisher_that_is_killed_sends_again_under_the_same_id(line: Bus, store: Engine) -> None:
    everything = more_than_a_batch(store)
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
    everything = more_than_a_batch(store)
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


def test_a_publisher_whose_engine_is_gone_ends(line: Bus, store: Engine) -> None:
    reader, writer = os.pipe()
    command = [sys.executable, "-m", "rebuilder", "--config", str(line.configuration), "notify", "--beside"]
    with subprocess.Popen(command, stdin=reader) as child:
        os.close(reader)
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(3)
        os.close(writer)
        assert child.wait(30) == 0
