"""Whatever is sent is accounted for: accepted, a duplicate, ignored, rejected or set aside; on both databases.

Deliveries take the consumer's own way: what fedora-messaging makes of the bytes, our callback, the inbox, the engine.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pika
from click.testing import CliRunner
from fedora_messaging.message import get_message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete

from consumers import deliveries
from consumers.topics import PARSERS, parse
from rebuilder.cli import rebuilder
from rebuilder.config import Settings
from rebuilder.engine import intake
from rebuilder.store import dead_letters, inbox, models
from rebuilder.store.database import reading

SETTINGS = Settings(streams={"f42": {"dist": ".fc42"}})
ROUNDS = settings(
    max_examples=150, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip

odd_texts = st.sampled_from(["", "\0", "\ud800", "a\0b", "x" * 300, "\x1b[2J", "\U0001d538" * 255, "-", "%s", "' OR 1"])
texts = st.text(max_size=20) | odd_texts
numbers = st.integers() | st.sampled_from([2**31, 2**32 - 1, 2**63, 10**40]) | st.floats()
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
nvrs = st.sampled_from(["bash-5.2.37-2.fc42", "zsh-1-1.fc42", "x", "a-1-1.fc41", "b" * 300 + "-1-1.fc42"]) | texts
builds = st.fixed_dictionaries({"nvr": nvrs}, optional={"epoch": numbers | st.just("7")})
updates = st.fixed_dictionaries({
    "update": st.fixed_dictionaries(
        {"alias": texts, "release": st.fixed_dictionaries({"name": texts}), "builds": st.lists(builds, max_size=3)},
        optional={"severity": values, "url": texts, "type": texts, "content_type": texts},
    )
})  # fmt: skip
taggings = st.fixed_dictionaries(
    {key: texts | st.just("bash") for key in ("name", "version", "release", "tag")},
    optional={"instance": texts, "new": numbers | st.just(1), "epoch": numbers, "task_id": numbers, "task": values},
)
topics = st.sampled_from([f"x.{topic}" for topic in PARSERS]) | texts
idents = st.sampled_from(["1", "2", "3", "a\0", ""]) | texts
bodies = updates | taggings | values


def dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


deep = st.sampled_from([b"[" * 5000, b'{"a":' * 300 + b"1" + b"}" * 300])
raw_bodies = bodies.map(dumped) | st.binary(max_size=30) | deep
headers = st.none() | st.just({"fedora_messaging_schema": "base.message", "fedora_messaging_severity": 20}) | (
    st.dictionaries(st.text(max_size=9), values, max_size=3)
)
properties = st.builds(
    dict, message_id=st.none() | idents, headers=headers,
    content_encoding=st.none() | st.sampled_from(["utf-8", "utf-16", "hex", "klingon", "\0"]),
)  # fmt: skip
sendings = st.lists(st.tuples(topics, properties, raw_bodies), max_size=8)
lines = st.lists(st.fixed_dictionaries({"topic": topics}, optional={"id": idents, "headers": values, "body": bodies}),
                 max_size=8)


def emptied(store: Engine) -> None:
    with store.begin() as connection:
        for model in (models.Change, models.Message, models.DeadLetter):
            connection.execute(delete(model))


def read_all(store: Engine) -> Counter[str]:
    """What the engine made of what the inbox has."""
    with store.begin() as connection:
        intake.read(connection, parse, SETTINGS, time.time())
    with reading(store) as connection:
        return Counter(kept.state for kept in inbox.listing(connection, None, 1000))


def accounted(fates: Counter[str], found: Counter[str]) -> None:
    assert set(found) <= {"accepted", "ignored", "rejected"}
    assert found.total() == fates["new"]


@ROUNDS
@given(sent=sendings)
def test_each_delivery_is_accounted_for(store: Engine, sent: list[tuple[str, dict[str, Any], bytes]]) -> None:
    emptied(store)
    fates: Counter[str] = Counter()
    make = deliveries.guarded(get_message)
    for topic, told, body in sent:
        message = make(topic, pika.BasicProperties(**told), body)
        raw = deliveries.delivery_of(message)
        assert raw.body == body
        fates[inbox.take(store, lambda message=message: deliveries.received(message), raw)] += 1  # type: ignore[misc]
    assert fates.total() == len(sent)
    accounted(fates, read_all(store))
    with reading(store) as connection:
        assert dead_letters.count(connection) <= fates["dead"]
        assert bool(dead_letters.count(connection)) == bool(fates["dead"])


@ROUNDS
@given(sent=lines)
def test_each_line_of_a_replay_is_accounted_for(
    store: Engine, database_url: str, tmp_path: Path, sent: list[dict[str, Any]]
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
    states = read_all(store)
    assert {word: states[word] for word in ("accepted", "ignored", "rejected")} == {
        word: found[word] for word in ("accepted", "ignored", "rejected")
    }
