"""`replay` reads a file as the consumer reads the bus: whatever is in a line, the others are kept, and it is told."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pika
import pytest
from click.testing import CliRunner, Result
from fedora_messaging.message import get_message
from sqlalchemy import Engine

from consumers import deliveries
from rebuilder.cli import rebuilder
from rebuilder.cli import replay as module
from rebuilder.store import dead_letters, inbox
from rebuilder.store.database import reading

TOPIC = "org.fedoraproject.prod.bodhi.update.complete.stable"
Replay = Callable[[bytes], Result]


def update(nvr: str, **changed: Any) -> dict[str, Any]:
    return {"update": {"alias": "F-1", "builds": [{"nvr": nvr}], "release": {"name": "F42"}, **changed}}


def line(ident: Any, body: Any, topic: Any = TOPIC, **more: Any) -> bytes:
    return json.dumps({"id": ident, "topic": topic, "headers": {}, "body": body, "queue": "q", **more}).encode() + b"\n"


@pytest.fixture
def replay(store: Engine, database_url: str, tmp_path: Path) -> Replay:
    """Replays a file of these bytes."""
    configuration = tmp_path / "config.toml"
    ours = f'[consumer_config]\ndatabase_url = "{database_url}"\n[consumer_config.streams.f42]\ndist = ".fc42"\n'
    configuration.write_text(ours, encoding="utf-8")
    recorded = tmp_path / "messages.jsonl"

    def types(content: bytes) -> Result:
        recorded.write_bytes(content)
        command = ["--config", str(configuration), "replay", str(recorded), "--json"]
        return CliRunner().invoke(rebuilder, command, standalone_mode=False)

    return types


GOOD = line("good", update("bash-5.2-2.fc42"))
LINES: dict[str, tuple[bytes, str, str]] = {
    "a good one": (GOOD, "accepted", ""),
    "the same again": (GOOD, "duplicate", ""),
    "another topic": (line("i", {}, "org.weather"), "ignored", ""),
    "a wrong field": (line("r", update("no nvr")), "rejected", "update.builds[0].nvr: not a name-version-release"),
    "no UTF-8": (b'{"id": "u", "topic": "a\xff"}\n', "rejected", "not UTF-8 text: byte 24"),
    "not JSON": (b"{\n", "rejected", "not JSON: Expecting property name"),
    "no object": (b"[1]\n", "rejected", "not a message: it needs a topic"),
    "no topic": (b"{}\n", "rejected", "not a message: it needs a topic"),
    "a number as topic": (line("t", {}, 7), "rejected", "not a message: it needs a topic"),
    "a number as id": (line(7, {}), "rejected", "not a message: its id must be text"),
    "a terminal's command": (b'{"id": "\x1b[2J", \n', "rejected", "not JSON: Invalid control character"),
    "NUL": (b"\0\0\n", "rejected", "not JSON"),
    "NUL in the id": (line("a\0", {}), "dead-lettered", "the id is longer than 255 characters, or not printable"),
    "NUL in the body": (line("nul", update("zsh-5-1.fc42", title="a\0b")), "accepted", ""),
    "half a surrogate pair": (line("sur", update("zsh-6-1.fc42", title="\ud800")), "accepted", ""),
    "an id of 10,000": (line("x" * 10_000, {}), "dead-lettered", "the id is longer than 255 characters"),
    "no body": (b'{"id": "n", "topic": "a"}\n', "ignored", ""),
    "a list as body": (line("l", [1]), "dead-lettered", "ValidationError"),
    "a body that fails its schema": (
        line("s", {}, headers={"fedora_messaging_schema": "bodhi.update.complete.stable.v1"}),
        "dead-lettered", "ValidationError",
    ),
    "nesting of 300": (line("d", json.loads("[" * 300 + "]" * 300)), "dead-lettered", ""),
    "nesting of 100,000": (b"[" * 100_000 + b"\n", "dead-lettered", "RecursionError"),
    "headers of nesting 300": (
        line("h", {}, headers={"a": json.loads("[" * 300 + "]" * 300)}), "dead-lettered", "nested deeper than",
    ),
    "five megabytes": (line("five", update("zsh-7-1.fc42", notes="x" * 5_000_000)), "accepted", ""),
    "too many megabytes": (b'"' + b"x" * 33_000_000 + b'"\n', "rejected", "longer than 32000000 bytes"),
    "a good one at the end": (line("end", update("zsh-8-1.fc42"))[:-1], "accepted", ""),
}  # fmt: skip

NO_DELIVERY = ("not ", "longer than", "RecursionError")
UNDELIVERABLE = [name for name, (_, _, why) in LINES.items() if why.startswith(NO_DELIVERY)]


def test_a_file_of_everything_is_read_to_its_end_and_each_fault_is_told_with_its_line(
    replay: Replay, store: Engine
) -> None:
    done = replay(b"\n".join(content for content, _, _ in LINES.values()))  # with empty lines between
    assert done.exception is None
    expected = [(number * 2 - 1, word, why) for number, (_, word, why) in enumerate(LINES.values(), 1)]
    told = done.stderr.splitlines()
    faults = [(number, word, why) for number, word, why in expected if word in ("rejected", "dead-lettered")]
    assert [int(said.split(":")[2]) for said in told] == [number for number, _, _ in faults]
    for said, (number, word, why) in zip(told, faults, strict=True):
        found = re.fullmatch(rf"rebuilder: \S+/messages\.jsonl:{number}: {word}: (.+)", said)
        assert found, (said, number)
        assert why in found[1]
        assert len(said) < 2100
        assert said.isprintable()
    counted = {word: [w for _, w, _ in expected].count(word) for word in (*module.WORDS, module.DEAD)}
    assert json.loads(done.stdout) == counted
    assert done.return_value == 1
    with reading(store) as connection:
        assert dead_letters.count(connection) == counted["dead-lettered"]
        kept = {found.message.id for found in inbox.listing(connection, None, 100)}
    assert {"good", "i", "r", "nul", "sur", "five", "end", "n"} == kept


def test_what_is_all_well_says_nothing_more(replay: Replay) -> None:
    done = replay(GOOD + GOOD)
    assert (done.return_value, done.stderr) == (0, "")
    assert json.loads(done.stdout)["accepted"] == 1


@pytest.mark.parametrize("name", [name for name in LINES if name not in UNDELIVERABLE])
def test_the_consumer_says_the_same_of_the_same_message(store: Engine, replay: Replay, name: str) -> None:
    value = json.loads(LINES[name][0])
    properties = pika.BasicProperties(
        message_id=value["id"], headers=value.get("headers", {}), content_encoding="utf-8"
    )
    message = deliveries.guarded(get_message)(value["topic"], properties, json.dumps(value.get("body")).encode())
    with store.connect() as connection:
        fate = inbox.take(connection, lambda: deliveries.received(message), deliveries.delivery_of(message))
    again = json.loads(replay(LINES[name][0]).stdout)
    assert again["duplicate" if fate == "new" else "dead-lettered"] == 1
    with reading(store) as connection:
        assert dead_letters.count(connection) == int(fate == "dead"), "the same delivery is set aside once"
