"""What operators ask for, carried out by the engine, on both databases."""

from __future__ import annotations

from typing import Any

import pytest
from integration.workbench import BASH, SSL, Workbench, image
from msgspec.structs import replace
from sqlalchemy import Engine

from rebuilder.config import SimulatedSettings
from rebuilder.domain.errors import InfrastructureError
from rebuilder.domain.lifecycle import key_of_attempt
from rebuilder.engine import reconcile
from rebuilder.store import actions, changes, counters, holds, inventory, rebuilds, waves
from rebuilder.store.actions import Verb
from rebuilder.store.database import reading
from rebuilder.store.sync import record_builds

FIX = "openssl-3.2.2-1.fc42"
CHAIN = (image("base"), image("mid", "base"), image("app", "mid"))
BOTH = (SSL, BASH)


def ask(bench: Workbench, verb: Verb, target: str) -> str:
    """What the engine answers before any time has passed."""
    with bench.store.begin() as connection:
        number = actions.request(connection, verb, target, "ann", "because", bench.clock.now)
    bench.passes()
    with reading(bench.store) as connection:
        answer = actions.answer(connection, number)
    assert answer is not None
    return answer


def failing(*images: str) -> dict[str, Any]:
    return {"simulated": SimulatedSettings(failures=tuple(f"{image}:f42" for image in images))}


def repair(bench: Workbench) -> None:
    bench.builder._settings = SimulatedSettings()


@pytest.mark.parametrize("target", ["base:f42", "1"])
def test_a_retry_resumes_from_there_down(store: Engine, target: str) -> None:
    bench = Workbench(store, CHAIN, **failing("base"))
    bench.tell(FIX)
    bench.finish()
    assert bench.states() == [("base", "failed"), ("mid", "blocked"), ("app", "blocked")]
    repair(bench)
    assert "retrying base:f42" in ask(bench, Verb.RETRY, target)
    bench.finish()
    assert bench.states() == [(name, "succeeded") for name in ("base", "mid", "app")]
    assert bench.submitted() == ["base", "base", "mid", "app"], "the failed build is not taken for the new one"


def test_a_wave_that_is_tried_again_runs_again_and_its_times_are_those_of_its_last_end(store: Engine) -> None:
    bench = Workbench(store, CHAIN, **failing("base"))
    bench.tell(FIX)
    bench.finish()
    with reading(store) as connection:
        first = waves.find(connection, 1)
    assert (first.state, first.finished_at) == ("finished", bench.clock.now)
    repair(bench)
    bench.clock.now += 86400
    ask(bench, Verb.RETRY, "1")
    with reading(store) as connection:
        again = waves.find(connection, 1)
    assert (again.state, again.finished_at) == ("running", None)
    bench.finish()
    with reading(store) as connection:
        last = waves.find(connection, 1)
        counted = counters.read(connection, "wave")
    assert (last.state, last.finished_at) == ("finished", bench.clock.now)
    assert last.finished_at is not None and first.finished_at is not None
    assert last.finished_at > first.finished_at + 86400
    assert counted["makespan"].count == 1, "a day's wait for an operator is no makespan"


def test_a_retry_of_what_is_blocked_says_by_whom(store: Engine) -> None:
    bench = Workbench(store, CHAIN, **failing("base"))
    bench.tell(FIX)
    bench.finish()
    assert ask(bench, Verb.RETRY, "app:f42") == "app:f42 is blocked by mid:f42"
    assert bench.states() == [("base", "failed"), ("mid", "blocked"), ("app", "blocked")]


def test_a_retry_of_what_went_well_changes_nothing(store: Engine) -> None:
    bench = Workbench(store, CHAIN)
    bench.tell(FIX)
    bench.finish()
    assert ask(bench, Verb.RETRY, "1") == "nothing to retry"
    assert len(bench.submitted()) == 3


def test_a_canceled_image_blocks_what_is_below_until_it_is_retried(store: Engine) -> None:
    bench = Workbench(store, CHAIN)
    bench.tell(FIX)
    bench.passes()
    assert bench.states()[0] == ("base", "building")
    assert ask(bench, Verb.CANCEL, "base:f42") == "canceled base:f42"
    bench.finish()
    assert bench.states() == [("base", "canceled"), ("mid", "blocked"), ("app", "blocked")]
    assert [build.canceled for build in bench.builder.builds.values()] == [True], "at the builder too"
    assert bench.entry("base").reason == "canceled: cancel by ann: because"
    assert ask(bench, Verb.CANCEL, "base:f42") == "nothing to cancel"
    ask(bench, Verb.RETRY, "base:f42")
    bench.finish()
    assert bench.states() == [(name, "succeeded") for name in ("base", "mid", "app")]


def test_a_canceled_wave_is_canceled_whole_and_can_be_retried_whole(store: Engine) -> None:
    bench = Workbench(store, (*CHAIN, image("alone")))
    bench.tell(FIX)
    bench.passes()
    ask(bench, Verb.CANCEL, "1")
    assert {state for _, state in bench.states()} == {"canceled"}
    ask(bench, Verb.RETRY, "1")
    bench.finish()
    assert {state for _, state in bench.states()} == {"succeeded"}
    assert len(set(bench.submitted()[2:])) == 4


def test_a_builder_that_cannot_cancel_now_is_asked_again(store: Engine) -> None:
    bench = Workbench(store, (image("base", seconds=1000), image("mid", "base"), image("app", "mid")))
    bench.tell(FIX)
    bench.passes()

    def trouble(call: str) -> None:
        if call == "cancel":
            raise InfrastructureError("no route to host")

    bench.builder.before = trouble
    assert ask(bench, Verb.CANCEL, "base:f42") == "canceled base:f42", "whatever the builder says"
    ask(bench, Verb.RETRY, "base:f42")
    bench.passes(5)
    assert bench.states()[0] == ("base", "queued"), "no second build of an image while the first may run"
    assert not bench.loop.at_rest()
    bench.builder.before = lambda call: None
    bench.passes(60)
    assert next(build.canceled for build in bench.builder.builds.values()), "the builder is asked until it did"
    bench.finish(step=20)
    assert {state for _, state in bench.states()} == {"succeeded"}


def test_a_later_success_lets_go_on_what_an_earlier_failure_blocked(store: Engine) -> None:
    bench = Workbench(store, (image("base", rpms=BOTH), image("app", "base")), **failing("base"))
    bench.tell(FIX)
    bench.finish()
    assert bench.states() == [("base", "failed"), ("app", "blocked")]
    repair(bench)
    bench.tell("bash-5.2-2.fc42")
    bench.finish()
    assert bench.states() == [("base", "failed"), ("app", "succeeded"), ("base", "succeeded")]
    assert ask(bench, Verb.RETRY, "1") == "base:f42 is succeeded in wave 2"


def test_a_rebuild_by_hand_needs_no_update(store: Engine) -> None:
    bench = Workbench(store, CHAIN)
    assert ask(bench, Verb.REBUILD_ALL, "mid:f42") == "wave 1 rebuilds mid:f42, app:f42"
    assert "waits to be rebuilt already" in ask(bench, Verb.REBUILD, "app:f42")
    bench.finish()
    assert bench.states() == [("mid", "succeeded"), ("app", "succeeded")], "though nothing in mid has changed"
    assert bench.submitted() == ["mid", "app"]
    assert bench.entry("mid").note == "by hand: rebuild-all by ann: because"


def test_a_paused_engine_plans_and_finishes_but_starts_nothing(store: Engine) -> None:
    bench = Workbench(store, CHAIN)
    bench.tell(FIX)
    bench.passes()
    with store.begin() as connection:
        assert holds.pause(connection, "ann", "mass rebuild", bench.clock.now)
        assert not holds.pause(connection, "bob", "", bench.clock.now)
    bench.passes(seconds=60)
    assert bench.states() == [("base", "succeeded"), ("mid", "queued"), ("app", "waiting")]
    assert bench.loop.at_rest()
    with store.begin() as connection:
        assert holds.resume(connection, bench.clock.now)
        assert not holds.resume(connection, bench.clock.now)
    bench.finish()
    assert bench.states()[-1] == ("app", "succeeded")


def test_a_pause_ends_by_itself(store: Engine) -> None:
    bench = Workbench(store, CHAIN)
    with store.begin() as connection:
        assert holds.pause(connection, "ann", "mirror", bench.clock.now, until=bench.clock.now + 300)
        assert not holds.pause(connection, "bob", "", bench.clock.now)
    bench.tell(FIX)
    bench.passes(seconds=295)
    assert bench.submitted() == []
    bench.passes(seconds=10)
    assert bench.submitted() == ["base"]
    with store.begin() as connection:
        assert not holds.resume(connection, bench.clock.now), "it is over"
        assert holds.pause(connection, "bob", "again", bench.clock.now), "what is over is no pause"


def test_several_images_that_are_asked_for_together_are_one_wave(store: Engine) -> None:
    bench = Workbench(store, CHAIN)
    for name in ("mid:f42", "base:f42"):
        bench.ask("rebuild", name, "ann")
    bench.ask("rebuild", "app:f42", "bob")
    bench.finish()
    assert [(entry.wave_id, entry.image, entry.level) for entry in bench.rebuilds()] == [
        (1, "base:f42", 0), (1, "mid:f42", 1), (2, "app:f42", 0),
    ]


def test_a_request_made_twice_is_one(store: Engine) -> None:
    bench = Workbench(store, CHAIN)
    with store.begin() as connection:
        first, second = (actions.request(connection, Verb.RETRY, "1", who, "", 0) for who in ("ann", "bob"))
    assert first == second
    bench.finish()


def test_a_stream_builds_no_more_at_once_than_it_may(store: Engine) -> None:
    roots = tuple(image(f"i{at}") for at in range(5))
    bench = Workbench(store, roots, max_builds=4, streams={"f42": {"dist": ".fc42", "max_builds": 2}})
    bench.tell(FIX)
    bench.passes()
    assert sorted(state for _, state in bench.states()) == ["building"] * 2 + ["queued"] * 3
    bench.finish()
    assert {state for _, state in bench.states()} == {"succeeded"}


def test_a_builder_has_no_more_builds_at_once_than_it_may(store: Engine) -> None:
    roots = tuple(image(f"i{at}") for at in range(5))
    bench = Workbench(store, roots, max_builds=4, simulated=SimulatedSettings(max_builds=3))
    bench.tell(FIX)
    bench.passes()
    assert sorted(state for _, state in bench.states()) == ["building"] * 3 + ["queued"] * 2


def test_a_release_catches_up_what_the_hold_kept_from_being_planned(store: Engine) -> None:
    bench = Workbench(store, CHAIN)
    with store.begin() as connection:
        holds.hold(connection, "base:f42", "ann", "", None, bench.clock.now)
    bench.tell(FIX)
    bench.finish()
    assert bench.states() == []
    with store.begin() as connection:
        holds.release(connection, "base:f42", "ann", "", bench.clock.now)
    bench.finish()
    assert bench.states() == [(name, "succeeded") for name in ("base", "mid", "app")]


def test_what_was_missed_is_caught_up_at_the_start_and_what_failed_is_not_tried_for_ever(store: Engine) -> None:
    bench = Workbench(store, (*CHAIN, image("bad")), **failing("bad"))
    with store.begin() as connection:
        holds.hold(connection, "base:f42", "ann", "", bench.clock.now + 100, bench.clock.now)
    bench.tell(FIX)
    bench.finish()
    bench.clock.now += 200
    for _ in range(3):
        bench.restart()
        bench.finish()
    assert sorted(bench.states()) == [("app", "succeeded"), ("bad", "failed"), ("base", "succeeded"),
                                      ("mid", "succeeded")]  # fmt: skip


def test_a_parent_that_somebody_else_built_leaves_its_children_stale(store: Engine) -> None:
    bench = Workbench(store, CHAIN)
    _, build = image("base", rpms=("openssl-libs-1:3.2.9-1.fc42.x86_64",))
    assert build is not None
    with store.begin() as connection:
        known = inventory.ids(connection)
        record_builds(connection, [replace(build, ident="elsewhere")], known, bench.clock.now)
        found = reconcile.changes_from_foreign_builds(connection, ["base:f42"])
        changes.notice(connection, found, None, "", bench.clock.now)
    assert [str(change) for change in found] == ["openssl-1:3.2.9-1.fc42 in f42"]
    bench.finish()
    assert bench.submitted() == ["mid", "app"]


def test_a_release_package_without_a_dist_tag_belongs_to_the_release_that_bodhi_publishes_it_for(store: Engine) -> None:
    streams = {"f42": {"dist": ".fc42", "bodhi_releases": ["F42"]}, "f43": {"dist": ".fc43", "bodhi_releases": ["F43"]}}
    bench = Workbench(store, [image("base", rpms=("fedora-release-42-20.noarch",))], streams=streams)
    bench.tell("fedora-release-42-30")
    bench.finish()
    assert bench.states() == [("base", "succeeded")]
    bench.tell("fedora-release-42-31.fc41", ident="another release's")
    bench.finish()
    assert bench.states() == [("base", "succeeded")]


def test_a_build_is_over_when_no_attempt_of_its_rebuild_is_open(store: Engine) -> None:
    bench = Workbench(store, CHAIN)
    bench.tell(FIX)
    bench.passes()
    base = bench.entry("base").key
    with reading(store) as connection:
        assert rebuilds.settled(connection, [base, "nobody-f42-123.1"]) == set()
    bench.finish()
    mid = bench.entry("mid").key
    with reading(store) as connection:
        earlier = key_of_attempt(base, 7)
        assert rebuilds.settled(connection, [base, earlier, mid, "nobody-f42-123.1"]) == {base, earlier, mid}


def test_an_image_is_rebuilt_before_its_first_build_with_what_it_needs_first(store: Engine) -> None:
    bench = Workbench(store, (image("base", rpms=None), image("other", rpms=None), image("mid", "base"),
                              image("app", "mid", rpms=None)))
    assert ask(bench, Verb.REBUILD, "app:f42") == "wave 1 rebuilds base:f42, app:f42"
    bench.finish()
    assert bench.submitted() == ["base", "app"]
    assert bench.states() == [("base", "succeeded"), ("app", "succeeded")]
