"""Whatever is sent is accounted for: accepted, a duplicate, ignored, rejected or set aside; on both databases.

Deliveries take the consumer's own way: what fedora-messaging makes of the bytes, our callback, the inbox, the engine.
`make fuzz` sends a hundred thousand to each database, half of them by `replay`; REBUILDER_FUZZED says how many.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pika
import pytest
from click.testing import CliRunner
from fedora_messaging import config
from fedora_messaging.message import Message, get_message
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from sqlalchemy import Engine, delete
from support.examples import examples

from consumers import Inbox, deliveries
from consumers.topics import PARSERS, parse
from rebuilder.cli import rebuilder
from rebuilder.config import Settings
from rebuilder.engine import ingest
from rebuilder.store import dead_letters, inbox, models
from rebuilder.store.database import reading

SETTINGS = Settings(streams={"f42": {"dist": ".fc42"}})
WHOLE = int(os.environ.get("REBUILDER_FUZZED", "0"))
FEWEST, MOST = (20, 40) if WHOLE else (0, 8)
ROUNDS = examples(
    max(1, WHOLE // 2 // FEWEST) if WHOLE else 150, derandomize=not WHOLE,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip

UPDATED = "x.bodhi.update.complete.stable"
odd_texts = st.sampled_from(["", "\0", "\ud800", "a\0b", "x" * 300, "\x1b[2J", "\U0001d538" * 255, "-", "%s", "' OR 1"])
texts = st.text(max_size=20) | odd_texts
numbers = st.integers() | st.sampled_from([2**31, 2**32 - 1, 2**63, 10**40]) | st.floats()
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
numbered = st.integers(1, 10**6).map(lambda number: f"bash-5.{number}-1.fc42")
odd_nvrs = st.sampled_from(["bash-5.2.37-2.fc42", "zsh-1-1.fc42", "x", "a-1-1.fc41", "b" * 300 + "-1-1.fc42"])
nvrs = numbered | numbered | numbered | odd_nvrs | texts
releases = st.fixed_dictionaries({"name": st.just("F42") | texts})
aliases = st.just("FEDORA-1") | st.just("FEDORA-2") | texts
builds = st.fixed_dictionaries({"nvr": nvrs}, optional={"epoch": numbers | st.just("7")})
updates = st.fixed_dictionaries({
    "update": st.fixed_dictionaries(
        {"alias": aliases, "release": releases, "builds": st.lists(builds, max_size=3)},
        optional={"severity": values, "url": texts, "type": texts, "content_type": texts},
    )
})  # fmt: skip
taggings = st.fixed_dictionaries(
    {key: texts | st.just("bash") for key in ("name", "version", "release", "tag")},
    optional={"instance": texts, "new": numbers | st.just(1), "epoch": numbers, "task_id": numbers, "task": values},
)
topics = st.sampled_from([f"x.{topic}" for topic in PARSERS]) | texts
idents = st.uuids().map(str) | st.sampled_from([*"1234567", "a\0", ""]) | texts
bodies = updates | updates | taggings | values


def dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


deep = st.sampled_from([b"[" * 5000, b'{"a":' * 300 + b"1" + b"}" * 300])
good_bodies = bodies.map(dumped)
raw_bodies = good_bodies | good_bodies | good_bodies | st.binary(max_size=30) | deep
good_headers = st.just({"fedora_messaging_schema": "base.message", "fedora_messaging_severity": 20})
headers = good_headers | good_headers | st.none() | st.dictionaries(st.text(max_size=9), values, max_size=3)
properties = st.builds(
    dict, message_id=st.none() | idents, headers=headers,
    content_encoding=st.none() | st.just("utf-8") | st.just("UTF-8")
    | st.sampled_from(["utf-16", "hex", "klingon", "\0"]),
)  # fmt: skip
plain = st.builds(dict, message_id=st.uuids().map(str), headers=good_headers, content_encoding=st.just("utf-8"))
told = st.tuples(st.just(UPDATED), plain, updates.map(dumped))
sendings = st.lists(told | st.tuples(topics, properties, raw_bodies), min_size=FEWEST, max_size=MOST)
lines = st.lists(
    st.fixed_dictionaries({"topic": st.just(UPDATED), "id": st.uuids().map(str), "body": updates})
    | st.fixed_dictionaries({"topic": topics}, optional={"id": idents, "headers": values, "body": bodies}),
    min_size=FEWEST, max_size=MOST,
)  # fmt: skip


def emptied(store: Engine) -> None:
    with store.begin() as connection:
        for model in (models.Change, models.Message, models.DeadLetter):
            connection.execute(delete(model))


def read_all(store: Engine) -> Counter[str]:
    """What the engine made of what the inbox has."""
    with store.begin() as connection:
        ingest.read(connection, parse, SETTINGS, time.time())
    with reading(store) as connection:
        return Counter(kept.state for kept in inbox.listing(connection, None, 1000))


def accounted(fates: Counter[str], found: Counter[str]) -> None:
    assert set(found) <= {"accepted", "ignored", "rejected"}
    assert found.total() == fates["new"]


class Telling(Inbox):
    """The callback, and what it made of each message."""

    def __init__(self) -> None:
        super().__init__()
        self.fates: Counter[str] = Counter()

    def _take(self, message: Message) -> inbox.Fate:
        fate = super()._take(message)
        self.fates[fate] += 1
        return fate


@pytest.fixture(autouse=True)
def _silence() -> Iterator[None]:
    """Lines about ids that are no text would be kept for the report, which a worker of pytest-xdist cannot send."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def callback(store: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Telling:
    monkeypatch.setitem(config.conf, "consumer_config", {"database_url": database_url})
    return Telling()


@pytest.fixture
def total() -> Iterator[Counter[str]]:
    """What became of everything that the test sent, and how much that was."""
    found: Counter[str] = Counter()
    yield found
    print(dict(found))
    sent = found.pop("sent")
    assert sent == found.total() and sent >= WHOLE // 2


@ROUNDS
@given(sent=sendings)
def test_each_delivery_is_accounted_for(
    store: Engine, callback: Telling, total: Counter[str], sent: list[tuple[str, dict[str, Any], bytes]]
) -> None:
    emptied(store)
    callback.fates.clear()
    make = deliveries.guarded(get_message)
    for topic, told, body in sent:
        message = make(topic, pika.BasicProperties(**told), body)
        assert deliveries.delivery_of(message).body == body
        callback(message)
    fates = callback.fates
    assert fates.total() == len(sent)
    found = read_all(store)
    accounted(fates, found)
    total.update(found)
    total.update({"sent": len(sent), "duplicate": fates["duplicate"], "dead": fates["dead"]})
    with reading(store) as connection:
        assert dead_letters.count(connection) <= fates["dead"]
        assert bool(dead_letters.count(connection)) == bool(fates["dead"])


@ROUNDS
@given(sent=lines)
def test_each_line_of_a_replay_is_accounted_for(
    store: Engine, database_url: str, tmp_path: Path, total: Counter[str], sent: list[dict[str, Any]]
) -> None:
    emptied(store)
    configuration = tmp_path / "config.toml"
    told = f'[consumer_config]\ndatabase_url = "{database_url}"\n[consumer_config.streams.f42]\ndist = ".fc42"\n'
    configuration.write_text(told, encoding="utf-8")
    recorded = tmp_path / "messages.jsonl"
    recorded.write_bytes(b"".join(dumped(line) + b"\n" for line in sent))
    done = CliRunner().invoke(rebuilder, ["--config", str(configuration), "replay", str(recorded), "--json"])
    assert done.exception is None
    found = json.loads(done.stdout)
    assert sum(found.values()) == len(sent)
    total.update({"sent": len(sent), **found})
    states = read_all(store)
    assert {word: states[word] for word in ("accepted", "ignored", "rejected")} == {
        word: found[word] for word in ("accepted", "ignored", "rejected")
    }
