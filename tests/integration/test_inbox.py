"""The consumer on a real broker: every message is kept once, and nothing is lost."""

from __future__ import annotations

import json
import secrets
import signal
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from time import struct_time

import pika
import pytest
from fedora_messaging import config
from sqlalchemy import Engine, text
from support import bus

from consumers import Inbox
from rebuilder.demo.broker import Broker
from rebuilder.store import dead_letters, inbox
from rebuilder.store.database import reading


@pytest.fixture
def queue(broker: Broker) -> str:
    name = f"q{secrets.token_hex(4)}"
    with bus.channel(broker) as opened:
        opened.queue_declare(name, durable=True)
    return name


def ids(store: Engine) -> list[str]:
    with reading(store) as connection:
        return [kept.message.id for kept in inbox.listing(connection, None, 1000)]


def test_a_message_delivered_twice_is_kept_once(
    broker: Broker, queue: str, store: Engine, database_url: str, tmp_path: Path
) -> None:
    first, second = bus.update(), bus.update()
    with bus.channel(broker) as opened, bus.consumer(bus.configure(tmp_path, broker, queue, database_url)):
        for sent in (first, first, second):
            bus.send(opened, queue, sent)
        bus.until(lambda: len(ids(store)) == 2 and not bus.waiting(opened, queue))
    assert sorted(ids(store)) == sorted([first.id, second.id])


def test_a_consumer_killed_in_the_middle_loses_nothing(
    broker: Broker, queue: str, store: Engine, database_url: str, tmp_path: Path
) -> None:
    configuration = bus.configure(tmp_path, broker, queue, database_url)
    sent = [bus.update() for _ in range(100)]
    with bus.channel(broker) as opened:
        for message in sent:
            bus.send(opened, queue, message)
        with bus.consumer(configuration) as child:
            bus.until(lambda: len(ids(store)) > 20)
            child.stop(politely=signal.SIGKILL)
        with bus.consumer(configuration):
            bus.until(lambda: len(ids(store)) == len(sent))
    assert sorted(ids(store)) == sorted(message.id for message in sent)


def test_a_connection_that_the_server_ended_between_two_messages_delays_neither(
    postgres: Engine, postgres_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(config.conf, "consumer_config", {"database_url": postgres_url})
    callback, sent = Inbox(), [bus.update() for _ in range(2)]
    callback(sent[0])
    with postgres.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        others = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid != pg_backend_pid()"
        ended = connection.scalars(text(f"SELECT pg_terminate_backend(pid) FROM ({others}) AS others")).all()
    callback(sent[1])
    assert ended == [True]
    assert sorted(ids(postgres)) == sorted(message.id for message in sent)
    assert "waits" not in caplog.text


def test_messages_of_several_queues_are_taken_side_by_side(
    store: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(config.conf, "consumer_config", {"database_url": database_url})
    callback, sent = Inbox(), [bus.update() for _ in range(80)]
    with ThreadPoolExecutor(4) as queues:
        list(queues.map(callback, sent))
    assert sorted(ids(store)) == sorted(message.id for message in sent)


def test_while_the_database_is_away_messages_stay_in_the_queue(broker: Broker, queue: str, tmp_path: Path) -> None:
    nowhere = "postgresql+psycopg://nobody@127.0.0.1:1/nothing"
    with bus.channel(broker) as opened:
        bus.send(opened, queue, bus.update())
        with bus.consumer(bus.configure(tmp_path, broker, queue, nowhere)) as child:
            bus.until(lambda: "waits: the inbox cannot be written" in child.log.read_text())
        bus.until(lambda: bus.waiting(opened, queue) == 1)
    assert "goes back to the queue" in child.log.read_text(), "an end of the consumer ends the wait"
    assert "Traceback" not in child.log.read_text()


def test_wrong_settings_end_the_consumer_with_one_line(broker: Broker, queue: str, tmp_path: Path) -> None:
    configuration = bus.configure(tmp_path, broker, queue, "mysql://x")
    with bus.consumer(configuration) as child:
        bus.until(lambda: not child.running)
    assert "consumer_config.database_url" in child.log.read_text()
    assert "Traceback" not in child.log.read_text()


def test_a_message_that_no_parser_knows_is_kept_too(
    broker: Broker, queue: str, store: Engine, database_url: str, tmp_path: Path
) -> None:
    headers = {"fedora_messaging_schema": "nobody.knows", "sent-at": "2026-01-01T00:00:00+00:00"}
    properties = pika.BasicProperties(
        content_type="application/json", content_encoding="utf-8", message_id="strange", delivery_mode=2,
        headers=headers,
    )
    with bus.channel(broker) as opened, bus.consumer(bus.configure(tmp_path, broker, queue, database_url)):
        opened.basic_publish("", queue, b'{"a": [1, null]}', properties)
        bus.until(lambda: ids(store) == ["strange"])


SCHEMA = {"fedora_messaging_schema": "base.message", "fedora_messaging_severity": 20, "sent-at": "2026-01-01T00:00:00Z"}


class FarFuture(datetime):
    """A date that no calendar of Python's has; AMQP has 64 bits for seconds."""

    def utctimetuple(self) -> struct_time:
        return struct_time((9999, 12, 31, 10**13, 0, 0, 0, 0, 0))


BODIES = {
    "nested": (b"[" * 20_000 + b"]" * 20_000, {}),
    "nested in an object": (b'{"a": ' + b"[" * 500 + b"]" * 500 + b"}", {}),
    "unknown encoding": (b"{}", {"content_encoding": "klingon"}),
    "encoding of no text": (b"{}", {"content_encoding": "hex"}),
    "not UTF-8": (b'{"a": "\xff"}', {}),
    "not JSON": (b"{", {}),
    "no object": (b"[1]", {}),
    "refused by its schema": (b"{}", {"headers": {**SCHEMA, "fedora_messaging_schema": "rebuilder.wave.planned.v1"}}),
    "number of 5,000 digits": (b'{"a": ' + b"1" * 5000 + b"}", {}),
    "NUL in its id": (b'{"a": 1}', {"message_id": "a\0b"}),
    "severity of another kind": (b"{}", {"headers": {**SCHEMA, "fedora_messaging_severity": "?", "sent-at": 7}}),
    "no headers": (b"{}", {"headers": None}),
    "empty": (b"", {}),
    "encoding that takes hours": (b"a-" + b"b" * 2_000_000, {"content_encoding": "punycode"}),
    "encoding with such labels": (b"xn--" + b"b" * 2_000_000, {"content_encoding": "IDNA"}),
    "encoding that is no text": (b"{}", {"content_encoding": b"\xff"}),
    "id that is no text": (b"{}", {"message_id": b"\xff\xfe"}),
    "header whose name is no text": (b"{}", {"headers": {**SCHEMA, b"\xff": b"\xff"}}),
    "header of a far future": (b"{}", {"headers": {**SCHEMA, "at": [{"then": FarFuture.now()}]}}),
    "long list": (b"[" + b"{}," * 3_000_000 + b"{}]", {}),
}


def test_whatever_comes_is_kept_or_set_aside_and_the_consumer_goes_on(
    broker: Broker, queue: str, store: Engine, database_url: str, tmp_path: Path
) -> None:
    good = bus.update()
    with bus.channel(broker) as opened:
        for what, (body, changed) in BODIES.items():
            told = {"content_type": "application/json", "content_encoding": "utf-8", "message_id": what,
                    "delivery_mode": 2, "headers": SCHEMA, **changed}  # fmt: skip
            opened.basic_publish("", queue, body, pika.BasicProperties(**told))
        bus.send(opened, queue, good)
        with bus.consumer(bus.configure(tmp_path, broker, queue, database_url)) as child:
            bus.until(lambda: good.id in ids(store))
            assert child.running
        assert bus.waiting(opened, queue) == 0
    with reading(store) as connection:
        dead = {letter.delivery.id: letter.delivery for letter in dead_letters.listing(connection, 100)}
    assert len(ids(store)) + len(dead) == len(BODIES) + 1, "each is in one of the two"
    assert "refused by its schema" in dead
    assert dead["nested"].body == BODIES["nested"][0], "byte for byte"
    assert json.loads(dead["a\ufffdb"].body) == {"a": 1}
