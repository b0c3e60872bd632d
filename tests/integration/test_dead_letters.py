"""Dead letters by hand: listed, shown, taken back, dropped; and fetched from the broker's own dead-letter queue."""

from __future__ import annotations

import calendar
import json
import subprocess
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from time import struct_time

import pika
import pytest
from sqlalchemy import Engine
from support import bus, shell
from support.api_client import Client

from consumers.topics import parse
from rebuilder.config import Settings
from rebuilder.demo.broker import Broker
from rebuilder.domain.message import Delivery, IncomingMessage
from rebuilder.engine import ingest
from rebuilder.store import dead_letters, inbox
from rebuilder.store.database import reading

ROOT = Path(__file__).resolve().parents[2]
Types = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def types(broker: Broker, store: Engine, database_url: str, tmp_path: Path) -> Types:
    configuration = bus.configure(tmp_path, broker, "q", database_url)

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return shell.types("--config", str(configuration), *arguments)

    return command


def set_aside(store: Engine, body: bytes, ident: str = "m") -> None:
    with store.begin() as connection:
        dead_letters.keep(connection, Delivery(ident, "x.buildsys.tag", {}, body), "refused", 1.0)


def test_a_dead_letter_is_listed_shown_taken_back_and_dropped(types: Types, store: Engine) -> None:
    set_aside(store, b'{"a": "\\u001b[31m"}')
    set_aside(store, b"\x1b[31m\xff")
    listed = json.loads(types("inbox", "dead", "--json").stdout)
    assert [(letter["number"], letter["bytes"], letter["reason"]) for letter in listed] == [
        (2, 6, "refused"), (1, 19, "refused"),
    ]  # fmt: skip
    shown = types("inbox", "dead", "show", "2")
    assert shown.returncode == 0 and "\x1b" not in shown.stdout and "\\xff" in shown.stdout
    refused = types("inbox", "dead", "retry", "2")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "cannot be read" in refused.stderr
    assert types("inbox", "dead", "retry", "1").returncode == 0
    assert types("inbox", "dead", "drop", "2").returncode == 0
    assert types("inbox", "dead", "drop", "2").returncode == 2
    with reading(store) as connection:
        assert dead_letters.count(connection) == 0
        assert inbox.find(connection, "m").message.body == {"a": "\x1b[31m"}


def test_a_rejected_message_is_shown_read_again_and_dropped(types: Types, store: Engine) -> None:
    inbox.receive(store, [Delivery("-m", "x.buildsys.tag", {}, b"{}").read()])
    with store.begin() as connection:
        inbox.mark(connection, 1, "rejected", "tag: must be a text")
    assert "tag: must be a text" in types("inbox", "show", "--", "-m").stdout
    assert types("inbox", "retry", "--", "-m").returncode == 0
    again = types("inbox", "retry", "--", "-m")
    assert (again.returncode, "is new" in again.stderr) == (2, True)
    assert types("inbox", "drop", "--who", "kasal", "--", "-m").returncode == 0
    (kept,) = json.loads(types("inbox", "--json").stdout)
    assert (kept["state"], kept["reason"]) == ("ignored", "dropped by kasal")


def test_a_message_that_is_read_again_counts_once(types: Types, store: Engine) -> None:
    inbox.receive(store, [IncomingMessage(ident, "org.x.bodhi.update.complete.stable", {}, None) for ident in "ab"])
    client = Client(store)

    def read_all() -> None:
        with store.begin() as connection:
            ingest.read(connection, parse, Settings(), 1.0)

    def counted() -> dict[str, int]:
        with reading(store) as connection:
            return dict(inbox.counts(connection))

    read_all()
    assert counted() == {"rejected": 2}
    assert types("inbox", "retry", "a").returncode == 0
    assert counted() == {"new": 1, "rejected": 1}
    assert "rebuilder_messages_received_total 2.0" in client.http.get("/metrics").text
    read_all()
    assert counted() == {"rejected": 2}
    assert types("inbox", "drop", "b").returncode == 0
    assert counted() == {"ignored": 1, "rejected": 1}
    assert "rebuilder_messages_received_total 2.0" in client.http.get("/metrics").text


def test_what_the_broker_gave_up_is_collected(
    types: Types, broker: Broker, store: Engine, fresh_queue: str
) -> None:
    dead = f"{fresh_queue}.dead"
    assert "refuses" in types("inbox", "dead", "collect", "--queue", dead).stderr
    assert types("inbox", "dead", "declare", "--queue", dead).returncode == 0
    arguments = {"x-queue-type": "quorum", "x-delivery-limit": 20, "x-dead-letter-exchange": dead,
                 "x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}  # fmt: skip
    with bus.channel(broker) as channel:
        channel.queue_declare(f"{fresh_queue}.live", durable=True, arguments=arguments)
        channel.basic_publish("", f"{fresh_queue}.live", b"\xff", pika.BasicProperties(message_id="a", delivery_mode=2))
        returned = 0
        while (frame := bus.until(lambda: channel.basic_get(f"{fresh_queue}.live")))[0] is not None:
            channel.basic_nack(frame[0].delivery_tag, requeue=True)
            returned += 1
            if returned == 21:
                break
        bus.until(lambda: bus.waiting(channel, dead) == 1)
        assert types("inbox", "dead", "collect", "--queue", dead).stdout == f"1 collected from {dead}\n"
        assert bus.waiting(channel, dead) == 0
        channel.queue_delete(f"{fresh_queue}.live")
        channel.queue_delete(dead)
        channel.exchange_delete(dead)
    with reading(store) as connection:
        (letter,) = dead_letters.listing(connection, 5)
    assert letter.delivery.topic == f"{fresh_queue}.live"
    assert (letter.delivery.id, letter.delivery.body) == ("a", b"\xff")


def test_what_no_calendar_has_and_what_is_no_text_is_collected_too(
    types: Types, broker: Broker, store: Engine, fresh_queue: str
) -> None:
    far = struct_time((9999, 12, 31, 10**13, 0, 0, 0, 0, 0))
    date = type("FarFuture", (datetime,), {"utctimetuple": lambda _: far}).now()
    properties = pika.BasicProperties(message_id=b"\xff", content_encoding=b"\xfe", headers={b"\xff": 1, "at": date})  # type: ignore[arg-type]
    with bus.channel(broker) as channel:
        channel.basic_publish("", fresh_queue, b"{}", properties)
        assert types("inbox", "dead", "collect", "--queue", fresh_queue).stdout == f"1 collected from {fresh_queue}\n"
    with reading(store) as connection:
        (letter,) = dead_letters.listing(connection, 5)
    assert letter.delivery.headers == {"\\xff": 1, "at": calendar.timegm(far)}
    assert types("inbox", "dead", "retry", str(letter.seq)).returncode == 2
    assert types("inbox", "dead", "drop", str(letter.seq)).returncode == 0
