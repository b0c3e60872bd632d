"""What needs attention stands first, and which updates are how far; at the night of an openssl CVE."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from integration.workbench import CHAIN, Workbench, image
from sqlalchemy import Engine
from support import databases
from support.api_client import Client
from support.registry600 import ALIAS, CVE, NVR, night

from rebuilder.domain.command import Command
from rebuilder.engine import commands
from rebuilder.store import heartbeats
from rebuilder.store.lease import Candidate


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("night")
    store = databases.sqlite(folder / "night.db")
    bench = night(store, folder)
    yield Client(store, bench.settings)
    store.dispose()


def test_the_status_lists_all_that_needs_somebody_the_most_pressing_first(client: Client) -> None:
    needs = client.reads("status")["needs"]
    assert [need["kind"] for need in needs] == ["engine", "failure", "approval", "hold", "hold", "unknown"]
    engine, failure, approval, hold, _, unknown = needs
    assert "no engine is running" in engine["what"]
    assert (failure["count"], "ruby:f42" in failure["images"]) == (3, True)
    assert approval["do"] == "`rebuilder approve 2`"
    assert (hold["images"], hold["severity"], NVR in hold["what"]) == (["bodhi:f42"], "urgent", True)
    assert (unknown["count"], len(unknown["images"])) == (6, 5)


def test_the_status_says_how_far_each_update_under_way_is(client: Client) -> None:
    (update,) = client.reads("status")["updates"]
    assert (update["name"], update["builds"], update["cves"]) == (ALIAS, [NVR], [CVE])
    assert (update["severity"], update["done"], update["total"]) == ("urgent", 45, 244)
    assert "ruby:f42" in update["failed"]
    assert update["eta_earliest"] < update["eta"] < update["eta_latest"]


def test_the_overview_begins_with_what_needs_you(client: Client) -> None:
    text = client.http.get("/").text
    assert 0 < text.index("Needs you") < text.index("Running now")
    assert "bodhi:f42 is held by releng" in text


def test_an_engine_that_gets_on_needs_nobody_and_one_that_stopped_does(store: Engine) -> None:
    bench = Workbench(store, CHAIN)
    client = Client(store, bench.settings)
    with store.begin() as connection:
        heartbeats.record_heartbeat(connection, "engine", 1.0, 4e9)
    assert client.reads("status")["engine"]["alive"] is False  # of a time to come: a clock was set back
    assert "the engine has stopped" in client.reads("status")["needs"][0]["what"]
    with store.begin() as connection:
        heartbeats.record_heartbeat(connection, "engine", 1.0, time.time())
    found = client.reads("status")
    assert (found["engine"]["alive"], found["needs"]) == (True, [])


def test_an_engine_that_ended_as_told_is_missed_since_then_and_nothing_is_forecast_without_one(store: Engine) -> None:
    bench = Workbench(store, CHAIN)
    bench.clock.now = time.time()
    bench.tell("openssl-3.2.2-1.fc42")
    bench.passes()
    client = Client(store, bench.settings)
    with store.begin() as connection:
        heartbeats.record_heartbeat(connection, "engine", 1.0, time.time())
    assert client.reads("waves/1")["eta"] is not None
    candidate = Candidate(store, "host:1")
    term = candidate.try_acquire()
    assert term is not None
    term.release()
    candidate.close()
    with store.begin() as connection:
        heartbeats.stopped(connection, ["engine"])
    status = client.reads("status")
    assert status["engine"]["alive"] is False and status["engine"]["seen"] == status["needs"][0]["since"] is not None
    assert [(one["name"], one["eta"]) for one in status["updates"]] == [("FEDORA-1", None)]
    wave = client.reads("waves/1")
    assert wave["eta"] is None and {one["eta"] for one in wave["rebuilds"]} == {None}
    page = client.http.get("/waves/1").text
    assert "no engine is running" in page and "Expected to be done" not in page
    assert {one["eta"] for one in client.reads("coverage/FEDORA-1")["fixes"][0]["images"]} == {None}


def test_a_hold_over_an_image_of_unknown_contents_needs_somebody_as_much_as_one_over_a_security_fix(
    store: Engine,
) -> None:
    bench = Workbench(store, [image("base"), image("blind", "base", rpms=None), image("calm", "base")])
    with store.begin() as connection:
        for held in ("blind:f42", "calm:f42"):
            commands.give(connection, Command("hold", held, "ann", "freeze"), bench.clock.now)
    client = Client(store, bench.settings)
    (need,) = [need for need in client.reads("status")["needs"] if need["kind"] == "hold"]
    assert (need["images"], need["severity"]) == (["blind:f42"], None)
    assert need["what"] == "blind:f42 is held by ann: freeze; its contents are unknown"
    assert client.items("images", order="need")[0]["image"] == "blind:f42"
    assert "its contents are unknown" in client.http.get("/").text


def test_a_feed_does_not_say_that_a_wave_of_canceled_rebuilds_went_well(store: Engine) -> None:
    bench = Workbench(store, CHAIN)
    bench.tell("openssl-3.2.2-1.fc42")
    bench.passes(0)
    bench.ask("cancel", "base:f42")
    bench.finish()
    client = Client(store, bench.settings)
    (wave,) = client.items("waves")
    assert wave["state"] == "finished" and wave["rebuilds"]["canceled"] == 1
    assert "Wave 1 is finished, not well" in client.http.get("/feed.atom").text
