"""One bad message stops nothing: what the database refuses is rejected, and everything behind it is read."""

from __future__ import annotations

import time
from typing import Any

import pytest
from sqlalchemy import Engine

from consumers.topics import parse
from rebuilder.config import Settings
from rebuilder.domain.change import AvailableBuild, Event
from rebuilder.domain.message import Delivery, IncomingMessage, storable
from rebuilder.domain.rpm import EVR, SourceBuild
from rebuilder.engine import ingest
from rebuilder.store import dead_letters, inbox
from rebuilder.store.database import reading

SETTINGS = Settings(streams={"f42": {"dist": ".fc42"}})
TOPIC = "org.x.bodhi.update.complete.stable"


def update(nvr: str = "bash-5.2.37-2.fc42", **changed: Any) -> dict[str, Any]:
    told = {"alias": "FEDORA-1", "builds": [{"nvr": nvr, "epoch": 0}], "release": {"name": "F42"}, **changed}
    return {"update": told}


def read_all(store: Engine, parser: ingest.Parse = parse) -> dict[str, tuple[str, str]]:
    """What the engine makes of the messages: state and reason by id."""
    with store.begin() as connection:
        ingest.read(connection, parser, SETTINGS, time.time())
    with reading(store) as connection:
        return {kept.message.id: (kept.state, kept.reason) for kept in inbox.listing(connection, None, 100)}


@pytest.mark.parametrize("epoch", [2**63, 2**200])
def test_what_the_database_refuses_is_rejected_and_what_is_behind_it_is_read(store: Engine, epoch: int) -> None:
    def parser(message: IncomingMessage) -> tuple[Event, ...]:
        epoch_of_bash = epoch if message.id == "2" else 0
        return (
            AvailableBuild(SourceBuild("good", EVR(0, message.id, "1.fc42"))),
            AvailableBuild(SourceBuild("bash", EVR(epoch_of_bash, message.id, "1.fc42"))),
        )

    inbox.receive(store, [IncomingMessage(ident, TOPIC, {}, {}) for ident in "123"])
    found = read_all(store, parser)
    assert {ident: state for ident, (state, _) in found.items()} == {"1": "accepted", "2": "rejected", "3": "accepted"}
    assert found["2"][1]
    with reading(store) as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM change").scalar() == 4, "of 2, nothing is kept"


def test_a_parser_that_fails_rejects_its_message_alone(store: Engine) -> None:
    def parser(message: IncomingMessage) -> tuple[Event, ...]:
        if message.id == "1":
            raise RecursionError("maximum recursion depth exceeded")
        return parse(message)

    inbox.receive(store, [IncomingMessage("1", TOPIC, {}, update()), IncomingMessage("2", TOPIC, {}, update())])
    found = read_all(store, parser)
    assert found["2"][0] == "accepted"
    assert found["1"] == ("rejected", "RecursionError: maximum recursion depth exceeded")


POISON = {
    "epoch of 2^31": update(builds=[{"nvr": "bash-5.2.37-2.fc42", "epoch": 2**31}]),
    "largest epoch of RPM": update(builds=[{"nvr": "bash-5.2.38-2.fc42", "epoch": 2**32 - 1}]),
    "epoch of 2^63": update(builds=[{"nvr": "bash-5.2.39-2.fc42", "epoch": 2**63}]),
    "alias of 8,000": update(alias="F" * 8000),
    "alias of 255 characters of four bytes": update(alias="\U0001d538" * 255),
    "alias with NUL": update(alias="a\0b"),
    "alias with half a surrogate pair": update(alias="a\ud800"),
    "name of 8,000": update(f"{'b' * 8000}-1-1.fc42"),
    "name and version of 120": update(f"{'b' * 120}-{'1' * 120}-1.fc42"),
    "url of 100,000": update(url="https://x/" + "a" * 100_000),
    "type with NUL": update(type="a\0b"),
    "six thousand builds": update(builds=[{"nvr": f"b{n}-1-1.fc42"} for n in range(6000)]),
    "NUL as a key": {"\0": "\0", **update("bash-5.2.40-2.fc42")},
    "surrogate as a key": {"\ud800": 1, **update("bash-5.2.41-2.fc42")},
    "number of 400 digits": {"n": 10**400, **update("bash-5.2.42-2.fc42")},
    "nothing": None,
    "text": "x",
}  # fmt: skip


def test_no_message_that_is_kept_stops_the_engine(store: Engine) -> None:
    inbox.receive(store, [storable(what, TOPIC, {}, body) for what, body in POISON.items()])
    inbox.receive(store, [IncomingMessage("good", TOPIC, {}, update("zsh-1-1.fc42"))])
    found = read_all(store)
    assert found["good"][0] == "accepted"
    states = {what: state for what, (state, _) in found.items()}
    assert "new" not in states.values()
    for what in ("epoch of 2^31", "largest epoch of RPM", "alias of 255 characters of four bytes",
                 "name and version of 120", "url of 100,000", "type with NUL", "NUL as a key"):  # fmt: skip
        assert states[what] == "accepted", found[what]
    for what in ("alias of 8,000", "alias with NUL", "name of 8,000", "six thousand builds", "nothing", "text"):
        assert states[what] == "rejected", found[what]


def test_many_builds_of_many_messages_are_read_in_many_passes(store: Engine) -> None:
    builds = [{"nvr": f"b{number}-1-1.fc42"} for number in range(600)]
    inbox.receive(store, [IncomingMessage(str(number), TOPIC, {}, update(builds=builds)) for number in range(5)])

    def read() -> int:
        with store.begin() as connection:
            return ingest.read(connection, parse, SETTINGS, time.time()).messages

    assert [read() for _ in range(4)] == [2, 2, 1, 0], "a pass is short, or the watchdog ends the engine in it"


def take(store: Engine, delivery: Delivery) -> str:
    with store.connect() as connection:
        return inbox.take(connection, delivery.read, delivery)


def test_what_can_never_be_kept_is_set_aside_once_byte_for_byte(store: Engine) -> None:
    for delivery in (
        Delivery("a\0b", TOPIC, {}, b"{}"),
        Delivery("x" * 300, TOPIC, {}, b"{}"),
        Delivery("deep", TOPIC, {}, b"[" * 101 + b"]" * 101),
        Delivery("topic", "a\0", {}, b"{}"),
        Delivery("bytes", TOPIC, {"x": float("nan"), "deep": [[[]]]}, b"\xff\0"),
        Delivery("encoding", TOPIC, {}, b"{}", "none\0"),
    ):
        assert take(store, delivery) == take(store, delivery) == "dead"
        with reading(store) as connection:
            (newest, *_) = dead_letters.listing(connection, 10)
        assert newest.delivery.body == delivery.body
        assert newest.reason
    with reading(store) as connection:
        assert dead_letters.count(connection) == 6


def test_nesting_that_is_kept_can_be_read_again(store: Engine) -> None:
    assert take(store, Delivery("deep", TOPIC, {}, b"[" * 100 + b"]" * 100)) == "new"
    assert read_all(store)["deep"][0] == "rejected"
