"""One bad message stops nothing: what the database refuses is rejected, and everything behind it is read."""

from __future__ import annotations

import time
from typing import Any

import pytest
from sqlalchemy import Engine

from consumers.topics import parse
from rebuilder.config import Settings
from rebuilder.domain.change import Event, Offer
from rebuilder.domain.message import Received
from rebuilder.domain.rpm import EVR, SourceBuild
from rebuilder.engine import intake
from rebuilder.store import inbox
from rebuilder.store.database import reading

SETTINGS = Settings(streams={"f42": {"dist": ".fc42"}})
TOPIC = "org.x.bodhi.update.complete.stable"


def update(nvr: str = "bash-5.2.37-2.fc42", **changed: Any) -> dict[str, Any]:
    told = {"alias": "FEDORA-1", "builds": [{"nvr": nvr, "epoch": 0}], "release": {"name": "F42"}, **changed}
    return {"update": told}


def read_all(store: Engine, parser: intake.Parse = parse) -> dict[str, tuple[str, str]]:
    """What the engine makes of the messages: state and reason by id."""
    with store.begin() as connection:
        intake.read(connection, parser, SETTINGS, time.time())
    with reading(store) as connection:
        return {kept.message.id: (kept.state, kept.reason) for kept in inbox.listing(connection, None, 100)}


@pytest.mark.parametrize("epoch", [2**63, 2**200])
def test_what_the_database_refuses_is_rejected_and_what_is_behind_it_is_read(store: Engine, epoch: int) -> None:
    def parser(message: Received) -> tuple[Event, ...]:
        return (Offer(SourceBuild("good", EVR(0, message.id, "1.fc42"))),
                Offer(SourceBuild("bash", EVR(epoch if message.id == "2" else 0, message.id, "1.fc42"))))  # fmt: skip

    inbox.receive(store, [Received(ident, TOPIC, {}, {}) for ident in "123"])
    found = read_all(store, parser)
    assert {ident: state for ident, (state, _) in found.items()} == {"1": "accepted", "2": "rejected", "3": "accepted"}
    assert found["2"][1]
    with reading(store) as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM change").scalar() == 4, "of 2, nothing is kept"


def test_a_parser_that_fails_rejects_its_message_alone(store: Engine) -> None:
    def parser(message: Received) -> tuple[Event, ...]:
        if message.id == "1":
            raise RecursionError("maximum recursion depth exceeded")
        return parse(message)

    inbox.receive(store, [Received("1", TOPIC, {}, update()), Received("2", TOPIC, {}, update())])
    found = read_all(store, parser)
    assert found["2"][0] == "accepted"
    assert found["1"] == ("rejected", "RecursionError: maximum recursion depth exceeded")
