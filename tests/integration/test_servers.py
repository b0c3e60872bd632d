"""The servers that the tests and the demonstration start themselves."""

from __future__ import annotations

import os
from pathlib import Path

import pika
import pytest

from rebuilder.demo.broker import SERVER, Broker


@pytest.fixture
def own_broker(tmp_path: Path) -> Broker:
    import servers

    servers.need("rabbitmq", SERVER.exists())
    return Broker(tmp_path / "rabbitmq")


def channel_of(broker: Broker) -> pika.adapters.blocking_connection.BlockingChannel:
    return pika.BlockingConnection(pika.URLParameters(broker.amqp_url)).channel()


def test_a_broker_that_crashed_comes_back_with_its_durable_messages(own_broker: Broker) -> None:
    with own_broker:
        channel = channel_of(own_broker)
        channel.confirm_delivery()
        channel.queue_declare("kept", durable=True)
        channel.basic_publish("", "kept", b"hello", pika.BasicProperties(delivery_mode=2))
        own_broker.kill()
        own_broker.start()
        _, _, body = channel_of(own_broker).basic_get("kept", auto_ack=True)
    assert body == b"hello"


def test_a_stopped_broker_leaves_no_process_behind(own_broker: Broker) -> None:
    with own_broker:
        group = os.getpgid(own_broker.pid or 0)
        assert members(group)
    assert not members(group)


def members(group: int) -> list[str]:
    """The processes of a group, as /proc has them."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(stat.parts[2])
    return found
