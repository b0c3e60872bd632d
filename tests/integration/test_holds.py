"""What waits for an operator: waves that a rule wants approved, and images on hold."""

from __future__ import annotations

from integration.workbench import BASH, SSL, Workbench, image
from msgspec.structs import replace
from sqlalchemy import Engine

from consumers.topics import parse
from rebuilder.engine import ingest, planning
from rebuilder.store import holds, inventory, waves
from rebuilder.store.database import reading
from rebuilder.store.sync import record_builds

ASK = [{"name": "ask", "action": "approve", "package": "openssl"}]


def test_a_wave_that_a_rule_wants_approved_waits_until_it_is(store: Engine) -> None:
    bench = Workbench(store, policy=ASK)
    bench.tell("openssl-3.2.2-1.fc42")
    bench.finish()
    assert bench.states() == []
    with store.begin() as connection:
        assert waves.latest(connection, 5)[0].state == "planned"
        assert waves.approve(connection, 1, "ann", bench.clock.now)
        assert not waves.approve(connection, 1, "bob", bench.clock.now)
    bench.finish()
    assert {state for _, state in bench.states()} == {"succeeded"}
    with reading(store) as connection:
        wave = waves.find(connection, 1)
    assert wave is not None
    assert (wave.state, wave.rule, wave.approved_by) == ("finished", "ask", "ann")


def test_what_needs_no_approval_does_not_wait_for_what_does(store: Engine) -> None:
    bench = Workbench(store, [image("a", rpms=(SSL, BASH)), image("b")], policy=ASK)
    bench.tell("openssl-3.2.2-1.fc42", "bash-5.3-1.fc42")
    bench.finish()
    assert bench.states() == [("a", "succeeded")]
    assert "bash-5.3-1.fc42.x86_64" in bench.installed("a")


def test_an_approved_wave_is_planned_on_what_the_images_carry_then(store: Engine) -> None:
    bench = Workbench(store, [image("a"), image("b")], policy=ASK)
    bench.tell("openssl-3.2.2-1.fc42")
    bench.finish()
    current = "openssl-libs-1:3.2.2-1.fc42.x86_64"
    with store.begin() as connection:
        known = inventory.ids(connection)
        found = image("a", rpms=[current])[1]
        assert found is not None
        record_builds(connection, [replace(found, ident="second")], known, bench.clock.now)
        waves.approve(connection, 1, "ann", bench.clock.now)
    bench.finish()
    assert bench.states() == [("b", "succeeded")]


def test_an_image_on_hold_is_not_planned_and_the_rest_is(store: Engine) -> None:
    bench = Workbench(store)
    with store.begin() as connection:
        holds.hold(connection, "mid:f42", "ann", "broken", None, bench.clock.now)
    bench.tell("openssl-3.2.2-1.fc42")
    bench.finish()
    assert dict(bench.states()) == {"base": "succeeded", "alone": "succeeded"}


def test_a_queued_rebuild_waits_while_its_image_is_held_and_a_hold_ends_by_itself(store: Engine) -> None:
    bench = Workbench(store, [image("a")])
    bench.tell("openssl-3.2.2-1.fc42")
    with store.begin() as connection:
        ingest.read(connection, parse, bench.settings, bench.clock.now)
        planning.settle(connection, bench.settings, bench.clock.now)
        holds.hold(connection, "a:f42", "ann", "", bench.clock.now + 100, bench.clock.now)
    bench.passes(seconds=90)
    assert bench.states() == [("a", "queued")]
    assert bench.loop.at_rest()
    bench.passes(seconds=30)
    assert bench.states() == [("a", "succeeded")]
