"""The consumer as production runs it: fedora-messaging's own command, on a queue of its own."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pika
from fedora_messaging.message import Message, get_message
from pika.adapters.blocking_connection import BlockingChannel

from rebuilder.demo import message
from rebuilder.demo.broker import Broker
from rebuilder.demo.process import Child

CONFIGURATION = """amqp_url = "{url}"
callback = "{callback}"

[tls]
ca_cert = ""
keyfile = ""
certfile = ""

[qos]
prefetch_size = 0
prefetch_count = 1

[queues.{queue}]
durable = true
auto_delete = false
exclusive = false
arguments = {{}}

[[bindings]]
queue = "{queue}"
exchange = "amq.topic"
routing_keys = ["{queue}.#"]

[consumer_config]
database_url = "{database}"
"""
ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0


def configure(folder: Path, broker: Broker, queue: str, database: str, callback: str = "consumers:Inbox") -> Path:
    path = folder / f"{queue}.toml"
    path.write_text(
        CONFIGURATION.format(url=broker.amqp_url, queue=queue, database=database, callback=callback), encoding="utf-8"
    )
    return path


@contextmanager
def consumer(configuration: Path, *folders: Path) -> Iterator[Child]:
    """The consumer's process. `folders` go into its PYTHONPATH, for callbacks of the tests."""
    command = [Path(sys.executable).with_name("fedora-messaging"), "--conf", configuration, "consume"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, *folders)))}
    child = Child(command, configuration.with_suffix(".log"), environment=environment)
    try:
        yield child
    finally:
        child.stop()


@contextmanager
def channel(broker: Broker) -> Iterator[BlockingChannel]:
    """A channel whose publishing waits for the broker's confirm."""
    with pika.BlockingConnection(pika.URLParameters(broker.amqp_url)) as connection:
        opened = connection.channel()
        opened.confirm_delivery()
        yield opened


def send(opened: BlockingChannel, queue: str, sent: Any) -> None:
    """Put a fedora-messaging message straight into the queue; the queue's name becomes its topic."""
    opened.basic_publish("", queue, json.dumps(sent.body).encode(), sent._properties)


def publish(opened: BlockingChannel, sent: Any) -> None:
    """Publish a fedora-messaging message under its topic, as its sender would."""
    opened.basic_publish("amq.topic", sent.topic, json.dumps(sent.body).encode(), sent._properties)


def update() -> Any:
    return message.update()


def taken(broker: Broker, queue: str) -> list[Message]:
    """All that the queue has, taken out of it and validated by its schema."""
    messages = []
    with channel(broker) as opened:
        while (got := opened.basic_get(queue, auto_ack=True))[0] is not None:
            messages.append(get_message(got[0].routing_key, got[1], got[2]))
    return messages


def waiting(opened: BlockingChannel, queue: str) -> int:
    """How many messages the queue has ready."""
    return int(opened.queue_declare(queue, passive=True).method.message_count)


def until(ready: Callable[[], Any], pause: float = 0.02, patience: float = PATIENCE) -> Any:
    """Wait for a true answer, and give it."""
    deadline = time.monotonic() + patience
    while not (answer := ready()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(pause)
    return answer
