"""Notifications on a real broker: what happened, all of it, in order, and each under one id."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bus
import pytest
from fedora_messaging.message import Message, get_message
from integration.workbench import Workbench, image
from sqlalchemy import Engine

from rebuilder.demo.broker import Broker
from rebuilder.demo.process import Child
from rebuilder.domain.notice import Notice
from rebuilder.store import outbox
from rebuilder.store.database import reading

FIX = "openssl-3.2.2-1.fc42"
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


class Bus:
    """A topic prefix of its own, and a queue that gets all that is published under it."""

    def __init__(self, broker: Broker, folder: Path, database: str) -> None:
        self.broker = broker
        self.prefix = f"test.{secrets.token_hex(4)}"
        self.queue = f"q.{self.prefix}"
        self.configuration = folder / "config.toml"
        self.configuration.write_text(
            CONFIGURATION.format(url=broker.amqp_url, prefix=self.prefix, database=database), encoding="utf-8"
        )
        with bus.channel(broker) as opened:
            opened.queue_declare(self.queue, durable=True)
            opened.queue_bind(self.queue, "amq.topic", f"{self.prefix}.#")

    @contextmanager
    def publisher(self) -> Iterator[Child]:
        """The publisher's process."""
        reader, writer = os.pipe()
        command = [sys.executable, "-m", "rebuilder", "--config", str(self.configuration), "notify"]
        log = self.configuration.with_suffix(".log")
        with log.open("ab") as output:
            child = subprocess.Popen(command, stdin=reader, stdout=output, stderr=output)
        os.close(reader)
        try:
            yield child
        finally:
            os.close(writer)
            child.wait(30)
        assert "Traceback" not in log.read_text()

    def received(self) -> list[Message]:
        """All that came, validated by its schema."""
        found = []
        with bus.channel(self.broker) as opened:
            while (got := opened.basic_get(self.queue, auto_ack=True))[0] is not None:
                found.append(get_message(got[0].routing_key, got[1], got[2]))
        return found


@pytest.fixture
def lines(broker: Broker, tmp_path: Path, database_url: str) -> Bus:
    return Bus(broker, tmp_path, database_url)


def announced(bench: Workbench) -> list[tuple[str, str]]:
    return [(m.topic, m.body.get("image", "")) for m in bench]


def left(store: Engine) -> int:
    with reading(store) as connection:
        return outbox.waiting(connection)


def test_a_wave_is_told_whole_and_in_order(lines: Bus, store: Engine) -> None:
    bench = Workbench(store, WORLD, notify={"enabled": True})
    bench.tell(FIX)
    bench.finish()
    with lines.publisher():
        bus.until(lambda: not left(store))
    found = lines.received()
    for m in found:
        print(m.topic, m.summary)
    print(found[3])
    print(json.dumps(found[3].body, indent=1))
    assert len(found) == 14
