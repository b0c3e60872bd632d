"""Health and metrics: from what the engine did, and from a real broker; and what they say when something is wrong."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from integration.workbench import Workbench
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine
from support import bus
from support.api_client import Client

from rebuilder import config_file
from rebuilder.config_file import Bus
from rebuilder.demo.broker import Broker
from rebuilder.demo.process import free_port
from rebuilder.domain.build import Submission
from rebuilder.domain.errors import InfrastructureError
from rebuilder.engine.calls import Answer, Kind
from rebuilder.store import database, heartbeats
from rebuilder.web import broker as asked


def health(client: Client, which: str = "ready") -> tuple[bool, dict[str, tuple[bool, str]]]:
    response = client.http.get(f"/health/{which}")
    told = response.json()
    assert response.status_code == (200 if told["ok"] else 503)
    return told["ok"], {check["name"]: (check["ok"], check["detail"]) for check in told["checks"]}


def measured(client: Client) -> dict[str, float]:
    """Each value by its name, and the values of its labels."""
    text = client.http.get("/metrics").text
    return {
        " ".join((sample.name, *sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def beat(store: Engine, loop: str, ago: float, trouble: str = "") -> None:
    with store.begin() as connection:
        heartbeats.record_heartbeat(connection, loop, 10.0, time.time() - ago, trouble)


# --- health


def test_without_an_engine_it_lives_and_is_not_ready(store: Engine) -> None:
    client = Client(store)
    assert health(client, "live")[0]
    ok, checks = health(client)
    assert (ok, checks["engine"]) == (False, (False, "does not run"))


def test_an_engine_that_gets_on_is_ready_and_one_that_hangs_is_not_alive(store: Engine) -> None:
    client = Client(store)
    beat(store, "engine", 5)
    assert health(client)[0]
    beat(store, "engine", 500)
    ok, checks = health(client, "live")
    assert (ok, checks["engine"]) == (False, (False, "last heartbeat 500 s ago"))


def test_the_builders_trouble_is_told(store: Engine) -> None:
    beat(store, "engine", 1)
    beat(store, "builder", 1, "koji: the hub is offline")
    ok, checks = health(Client(store))
    assert (ok, checks["builder"]) == (False, (False, "koji: the hub is offline"))


def test_a_publisher_that_hangs_and_one_that_has_trouble_are_told(store: Engine) -> None:
    client = Client(store)
    beat(store, "engine", 1)
    assert "publisher" not in health(client)[1]
    beat(store, "publisher", 1, "the broker cannot be reached: Connection refused")
    ok, checks = health(client)
    assert (ok, checks["notifications"]) == (False, (False, "the broker cannot be reached: Connection refused"))
    assert health(client, "live")[0]
    beat(store, "publisher", 900)
    assert not health(client, "live")[0]


def test_messages_that_nobody_reads_are_told(store: Engine) -> None:
    bench = Workbench(store)
    beat(store, "engine", 1)
    bench.tell("openssl-3.2.2-1.fc42")  # by the workbench's clock, long ago
    ok, checks = health(Client(store))
    assert not ok
    assert "the oldest unread message waits" in checks["inbox"][1]


def test_a_database_that_is_away_is_told(tmp_path_factory: pytest.TempPathFactory) -> None:
    away = database.open_database(f"postgresql+psycopg://nobody@127.0.0.1:{free_port()}/none")
    client = Client(away)
    assert health(client, "live") == (False, {"database": (False, "cannot be reached")})
    assert measured(client)["rebuilder_database_up"] == 0
    assert client.problem("status", 503) == "the database cannot answer now"


def test_an_engine_that_is_told_to_end_is_not_missed(store: Engine) -> None:
    bench = Workbench(store)
    bench.clock.now = time.time()
    bench.loop.beat()
    assert health(Client(store))[1]["engine"][0]
    bench.loop.end()
    assert health(Client(store), "live")[0]


# --- the broker


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker is asked each time."""
    monkeypatch.setattr(asked, "KEPT_SECONDS", 0.0)


@pytest.mark.usefixtures("impatient")
def test_the_queue_is_looked_at_without_touching_it(store: Engine, broker: Broker, fresh_queue: str) -> None:
    client = Client(store, bus=Bus(broker.amqp_url, (fresh_queue,), {}))
    beat(store, "engine", 1)
    assert health(client)[1]["bus"] == (False, f"no consumer reads queue {fresh_queue}")
    with bus.channel(broker) as channel:
        bus.send(channel, fresh_queue, bus.update())
        found = measured(client)
        assert (found[f"rebuilder_queue_messages {fresh_queue}"], found["rebuilder_broker_up"]) == (1, 1)
        assert bus.waiting(channel, fresh_queue) == 1
        channel.basic_consume(fresh_queue, lambda *_: None)
        assert health(client)[0]
        assert measured(client)[f"rebuilder_queue_consumers {fresh_queue}"] == 1


@pytest.mark.usefixtures("impatient")
def test_a_missing_queue_and_a_missing_broker_are_told(store: Engine, broker: Broker) -> None:
    beat(store, "engine", 1)
    missing = health(Client(store, bus=Bus(broker.amqp_url, ("no-such-queue",), {})))[1]["bus"]
    assert (missing[0], "no-such-queue" in missing[1]) == (False, True)
    away = Client(store, bus=Bus(f"amqp://127.0.0.1:{free_port()}", (), {}))
    assert health(away)[1]["bus"] == (False, "the broker cannot be reached: Connection refused")
    assert measured(away)["rebuilder_broker_up"] == 0


def test_without_a_bus_it_is_not_configured_and_all_is_well(store: Engine, tmp_path: Path) -> None:
    beat(store, "engine", 1)
    document = tmp_path / "config.toml"
    document.write_text("[consumer_config]\n")
    for bus_ in (None, config_file.bus(document), config_file.bus(None)):
        client = Client(store, bus=bus_)
        ok, checks = health(client)
        assert (ok, checks["bus"]) == (True, (True, "not configured"))
        assert "rebuilder_broker_up" not in measured(client)
        assert "is not well" not in client.http.get("/").text


def test_the_broker_is_not_asked_for_every_scrape(store: Engine, broker: Broker, fresh_queue: str) -> None:
    client = Client(store, bus=Bus(broker.amqp_url, (fresh_queue,), {}))
    measured(client)
    with bus.channel(broker) as channel:
        bus.send(channel, fresh_queue, bus.update())
    assert measured(client)[f"rebuilder_queue_messages {fresh_queue}"] == 0


# --- metrics


def test_what_happened_is_counted(store: Engine) -> None:
    bench = Workbench(store, simulated={"failures": ["mid:f42"], "aborts": {"alone:f42": 1}}, max_builds=2)
    bench.tell("openssl-3.2.2-1.fc42", ident="m1")
    bench.tell("openssl-3.2.2-1.fc42", ident="m1")
    bench.receive("buildsys.tag", {}, "m2")
    before = measured(Client(store))
    assert (before["rebuilder_messages_unread"], before["rebuilder_messages_received_total"]) == (2, 3)
    assert before["rebuilder_messages_oldest_unread_age_seconds"] > 0
    bench.finish()
    bench.loop.beat()
    found = measured(Client(store, bench.settings))
    expected = {
        "rebuilder_messages_received_total": 3, "rebuilder_messages_duplicate_total": 1,
        "rebuilder_messages_rejected_total": 1, "rebuilder_messages_accepted_total": 1,
        "rebuilder_messages_unread": 0, "rebuilder_messages_oldest_unread_age_seconds": 0,
        "rebuilder_changes_total": 1, "rebuilder_changes_settling": 0,
        "rebuilder_rebuilds_ended_total succeeded": 2, "rebuilder_rebuilds_ended_total failed": 1,
        "rebuilder_rebuilds_ended_total blocked": 1, "rebuilder_rebuilds building": 0,
        "rebuilder_attempts_total": 4, "rebuilder_aborts_total": 1, "rebuilder_slots": 2, "rebuilder_slots_used": 0,
        "rebuilder_builder_call_seconds_count submit": 4, "rebuilder_duplicate_submissions_total": 0,
        "rebuilder_plan_seconds_count": 1, "rebuilder_wave_makespan_seconds_count": 1, "rebuilder_paused": 0,
    }  # fmt: skip
    assert {name: found.get(name) for name in expected} == expected
    assert found["rebuilder_wave_makespan_ratio"] >= 1


def test_what_is_under_way_is_measured(store: Engine) -> None:
    bench = Workbench(store, max_builds=1)
    bench.tell("openssl-3.2.2-1.fc42")
    bench.passes()
    found = measured(Client(store, bench.settings))
    assert (found["rebuilder_slots_used"], found["rebuilder_rebuilds queued"]) == (1, 1)
    assert found["rebuilder_queue_oldest_age_seconds"] > 0


def test_trouble_with_the_builder_is_counted_and_forgotten_when_it_answers(store: Engine) -> None:
    bench = Workbench(store)

    def away(call: str) -> None:
        raise InfrastructureError("the hub is offline")

    bench.builder.before = away
    bench.tell("openssl-3.2.2-1.fc42")
    bench.passes()
    bench.loop.beat()
    assert measured(Client(store))["rebuilder_builder_trouble_total submit"] == 2, "two images could begin"
    assert health(Client(store))[1]["builder"] == (False, "the hub is offline")
    bench.builder.before = lambda call: None
    bench.clock.now += 60
    bench.passes()
    bench.loop.beat()
    assert health(Client(store))[1]["builder"] == (True, "no infrastructure errors")


def test_what_is_still_to_be_published_is_measured(store: Engine) -> None:
    bench = Workbench(store, notify={"enabled": True})
    bench.tell("openssl-3.2.2-1.fc42")
    bench.passes()
    found = measured(Client(store))
    assert found["rebuilder_publish_backlog"] > 0
    assert found["rebuilder_publish_oldest_age_seconds"] > 0
    assert found["rebuilder_publish_set_aside"] == 0


def test_a_build_that_is_submitted_twice_is_noticed(store: Engine) -> None:
    bench = Workbench(store)
    bench.loop.metrics.answered(2 * [Answer(Kind.SUBMIT, "base-f42-0123456789ab.1", Submission("1"))])
    bench.loop.beat()
    assert measured(Client(store))["rebuilder_duplicate_submissions_total"] == 1


def test_what_cannot_be_read_of_the_inventory_is_not_well_whether_an_engine_runs_or_not(store: Engine) -> None:
    client = Client(store)

    def note(*faults: str, at: float) -> None:
        with store.begin() as connection:
            heartbeats.unread(connection, faults, at)

    note("a:1: broken", "b:1: broken", at=1.0)
    note("a:1: broken", at=2.0)
    assert health(client)[1]["images"] == (False, "1 cannot be read and keep their last known state: a:1: broken")
    assert measured(client)["rebuilder_images_unread"] == 1
    assert "rebuilder_heartbeat_age_seconds inventory" not in measured(client), "it is no loop"
    assert client.reads("status")["problems"][0]["since"].startswith("1970-01-01T00:00:01")
    note(at=3.0)
    assert "images" not in health(client)[1]
    assert measured(client)["rebuilder_images_unread"] == 0
