"""What notifications cost: the engine on a wave of ten thousand, and the publisher beside plain publishing."""

from __future__ import annotations

import contextlib
import itertools
import secrets
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Collection
from pathlib import Path

import pytest
from fedora_messaging import api
from sqlalchemy import Engine, delete
from support import bus
from test_engine import SLOTS, UPDATE, only_openssl

from consumers.topics import parse
from rebuilder.cli.publisher import sender
from rebuilder.config import Settings, SimulatedSettings
from rebuilder.demo.broker import Broker
from rebuilder.domain.message import IncomingMessage
from rebuilder.engine import factory, notifications
from rebuilder.engine.loop import Loop
from rebuilder.engine.publisher import Publisher
from rebuilder.store import database, heartbeats, inbox, outbox
from rebuilder.store.database import reading
from rebuilder.store.models import Outbox
from rebuilder.store.sync import save_inventory

IMAGES, MESSAGES, ROUNDS = 10_000, 1_000, 5
NUMBERS = itertools.count()
CONFIGURATION = """amqp_url = "{url}"
topic_prefix = "{prefix}"
[consumer_config]
database_url = "{database}"
[consumer_config.notify]
enabled = true
"""


def settings(announcing: bool) -> Settings:
    return Settings(
        max_builds=SLOTS, settle_seconds=0, poll_seconds=0.2, simulated=SimulatedSettings(duration=0),
        notify={"enabled": announcing},
    )  # fmt: skip


def configured(folder: Path, broker: Broker, url: str) -> Path:
    """A configuration, and a queue that gets everything published by it."""
    prefix = f"bench.{secrets.token_hex(4)}"
    path = folder / "config.toml"
    path.write_text(CONFIGURATION.format(url=broker.amqp_url, prefix=prefix, database=url), encoding="utf-8")
    with bus.channel(broker) as opened:
        opened.queue_declare(prefix, durable=True)
        opened.queue_bind(prefix, "amq.topic", f"{prefix}.#")
    return path


def address(kind: str, folder: Path, request: pytest.FixtureRequest) -> str:
    return f"sqlite:///{folder / 'bench.db'}" if kind == "sqlite" else request.getfixturevalue("postgres_url")


def prepared(url: str, images: int) -> Engine:
    engine = database.open_database(url)
    database.upgrade(engine)
    with engine.begin() as connection:
        save_inventory(connection, only_openssl(images), time.time())
    return engine


def wave(engine: Engine, number: int, announcing: bool) -> tuple[float, float]:
    """The seconds of one wave over all images, and those of them that the engine had a processor."""
    chosen = settings(announcing)
    loop = Loop(engine, chosen, factory.builder_for(engine, chosen), parse)
    body = {"update": {**UPDATE["update"], "builds": [{"nvr": f"openssl-3.3.{number}-1.fc42", "epoch": 1}]}}
    inbox.receive(engine, [IncomingMessage(str(number), "org.x.bodhi.update.complete.stable", {}, body)])
    began, worked = time.perf_counter(), time.process_time()
    while loop.once() or not loop.at_rest():
        loop.calls.wait(0.01)
    return time.perf_counter() - began, time.process_time() - worked


def alone(engine: Engine, path: Path, announcing: bool) -> tuple[float, float, int]:
    """A wave as `wave` measures it, announced beside a publisher that is up already; and how much that has sent."""
    command = [sys.executable, "-m", "rebuilder", "--config", str(path), "notify", "--beside"]
    with contextlib.ExitStack() as stack:
        if announcing:
            publisher = stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL))
            stack.callback(publisher.terminate)
            bus.until(lambda: "publisher" in beats(engine))
        taken, worked = wave(engine, next(NUMBERS), announcing)
        sent = 3 * IMAGES + 2 - left(engine)
    with engine.begin() as connection:
        connection.execute(delete(Outbox))
    return taken, worked, sent


def beats(engine: Engine) -> Collection[str]:
    with reading(engine) as connection:
        return heartbeats.read(connection)


def left(engine: Engine) -> int:
    with reading(engine) as connection:
        return outbox.waiting(connection)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_engine_is_slowed_by_at_most_a_tenth(
    kind: str, broker: Broker, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = address(kind, tmp_path, request)
    engine, path = prepared(url, IMAGES), configured(tmp_path, broker, url)
    quiet, told = [], []
    print(f"\n{kind}: waves of {IMAGES}; seconds, and of these with a processor")
    for number in range(ROUNDS):
        for announcing in (number % 2 == 0, number % 2 == 1):  # what the machine does meanwhile is the same to both
            (told if announcing else quiet).append(alone(engine, path, announcing))
        print("  {:.1f} ({:.1f}) quiet, {:.1f} ({:.1f}) announced".format(*quiet[-1][:2], *told[-1][:2]), flush=True)
    for at, what in enumerate(("seconds", "processor")):
        slower = statistics.median(loud[at] / still[at] for loud, still in zip(told, quiet, strict=True)) - 1
        print(f"  {what}: {slower:+.1%} by announcing, the median of the pairs (at most +10%)")
    sent = told[-1][2]
    print(f"  {sent} of {3 * IMAGES + 2} notifications of the last wave were published before it ended")
    engine.dispose()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_outbox_is_published_at_500_messages_a_second_or_more(
    kind: str, broker: Broker, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = address(kind, tmp_path, request)
    engine, path = prepared(url, MESSAGES), configured(tmp_path, broker, url)
    send, stop = sender(path), threading.Event()
    plain, worked = [], []
    for number in range(ROUNDS):
        wave(engine, number, True)
        with reading(engine) as connection:
            found = outbox.unsent(connection, MESSAGES)
            bodies = notifications.write(connection, found, "")
        made = [notifications.message(letter.written(bodies[letter.seq])) for letter in found]
        began = time.perf_counter()
        for message in made:
            api.publish(message)
        plain.append(len(made) / (time.perf_counter() - began))
        count = left(engine)
        began = time.perf_counter()
        publisher = Publisher(engine, settings(True), send)
        while publisher.once(stop):
            pass
        worked.append(count / (time.perf_counter() - began))
    print(f"\n{kind}: the outbox {statistics.median(worked):.0f} msg/s (at least 500; plain publishing, one by one, "
          f"{statistics.median(plain):.0f} msg/s)")
    engine.dispose()
