"""A real broker that publishers send to, and what came of a wave: as the messages say it, and as the database does."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from fedora_messaging.message import Message
from integration.workbench import image
from sqlalchemy import Engine, select
from support import bus

from rebuilder.demo.broker import Broker
from rebuilder.domain.lifecycle import State
from rebuilder.domain.topics import OF_STATE
from rebuilder.engine.publisher import Send
from rebuilder.store import outbox
from rebuilder.store.database import reading
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
        return bus.taken(self.broker, self.queue)


@pytest.fixture
def line(broker: Broker, tmp_path: Path, database_url: str) -> Bus:
    return Bus(broker, tmp_path, database_url)


def left(store: Engine) -> int:
    with reading(store) as connection:
        return outbox.waiting(connection)


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


def confirming(taken: list[Message]) -> Send:
    """A broker that confirms all that it takes."""
    return lambda message: partial(taken.append, message)
