"""From a message to new builds: the engine with a simulated builder, on both databases."""

from __future__ import annotations

from typing import Any

from integration.workbench import BASH, SSL, Workbench, image
from sqlalchemy import Engine, func, select

from rebuilder.domain.change import Change
from rebuilder.domain.errors import InfrastructureError
from rebuilder.domain.image import ImageBuild
from rebuilder.domain.rpm import SourceBuild
from rebuilder.engine import planning
from rebuilder.store import build_durations, changes, inbox, inventory
from rebuilder.store.database import reading
from rebuilder.store.models import Cause, Wave

FIX = "openssl-3.2.2-1.fc42"
FIXED = "openssl-libs-1:3.2.2-1.fc42.x86_64"


def test_images_are_rebuilt_base_first(store: Engine) -> None:
    bench = Workbench(store)
    bench.tell(FIX)
    bench.finish()
    assert sorted(bench.states()) == [(name, "succeeded") for name in ("alone", "app", "base", "mid")]
    assert bench.when("base", "succeeded") <= bench.when("mid", "submitting")
    assert bench.when("mid", "succeeded") <= bench.when("app", "submitting")
    assert bench.when("alone", "submitting") == bench.when("base", "submitting"), "what is independent does not wait"
    assert all(bench.installed(name) == {FIXED} for name in ("base", "mid", "app", "alone"))


def test_a_child_is_built_on_its_parent_s_new_build(store: Engine) -> None:
    bench = Workbench(store)
    bench.tell(FIX)
    bench.finish()
    orders = {build.order.image.name: build.order for build in bench.builder.builds.values()}
    with reading(store) as connection:
        current = inventory.current_builds(connection)
    assert [parent.ident for parent in orders["app"].parents] == [current["mid:f42"].ident]
    assert current["mid:f42"].parents == (current["base:f42"].ident,)


def test_a_message_that_comes_twice_makes_one_wave(store: Engine) -> None:
    bench = Workbench(store)
    for _ in range(2):
        bench.tell(FIX, ident="same")
        bench.tell(FIX, ident="another")
        bench.finish()
    with reading(store) as connection:
        assert connection.scalar(select(func.count()).select_from(Wave)) == 1
    assert len(bench.submitted()) == 4


def test_a_change_that_nothing_needs_makes_no_wave(store: Engine) -> None:
    bench = Workbench(store)
    bench.tell("openssl-3.2.0-1.fc42", "zsh-5.9-1.fc42", "openssl-3.2.2-1.fc41")
    bench.finish()
    assert bench.states() == []


def test_a_failing_image_blocks_its_descendants_and_only_them(store: Engine) -> None:
    images = [image("base"), image("mid", "base"), image("app", "mid"), image("side", "base"), image("alone")]
    bench = Workbench(store, images, simulated={"failures": ["mid:f42"]})
    bench.tell(FIX)
    bench.finish()
    assert dict(bench.states()) == {
        "base": "succeeded", "mid": "failed", "app": "blocked", "side": "succeeded", "alone": "succeeded",
    }  # fmt: skip
    assert bench.entry("mid").reason == "simulated failure"
    assert bench.entry("app").reason == "mid:f42 did not succeed"
    assert "app" not in bench.submitted()


def test_trouble_is_tried_again_after_growing_pauses_and_then_given_up(store: Engine) -> None:
    bench = Workbench(store, [image("base", seconds=1), image("app", "base")], simulated={"aborts": {"base:f42": 9}})
    bench.tell(FIX)
    bench.finish(step=1)
    assert dict(bench.states()) == {"base": "failed", "app": "blocked"}
    assert bench.entry("base").reason == "gave up after 3 attempts: simulated infrastructure error"
    first, second, third = (at for _, at in bench.builder.submitted)
    assert 5 <= second - first - 1 <= 10 + 2
    assert 10 <= third - second - 1 <= 20 + 2


def test_trouble_that_passes_is_no_failure(store: Engine) -> None:
    bench = Workbench(store, [image("base")], simulated={"aborts": {"base:f42": 2}})
    bench.tell(FIX)
    bench.finish()
    assert bench.states() == [("base", "succeeded")]
    assert len({build.order.key for build in bench.builder.builds.values()}) == 3, "each attempt is another build"


def test_a_builder_that_cannot_be_asked_fails_nobody(store: Engine) -> None:
    bench = Workbench(store, [image("base", seconds=1000), image("app", "base")])

    def away(call: str) -> None:
        raise InfrastructureError("no route to host", arrived=False)

    bench.builder.before = away
    bench.tell(FIX)
    bench.passes(500, step=20)
    assert {state for _, state in bench.states()} <= {"queued", "submitting", "waiting"}
    bench.builder.before = lambda call: None
    bench.passes(300, step=20)
    bench.builder.before = away
    bench.passes(300, step=20)
    assert {state for _, state in bench.states()} == {"building", "waiting"}
    bench.builder.before = lambda call: None
    bench.finish(step=20)
    assert {(entry.state, entry.attempt - entry.spared) for entry in bench.rebuilds()} == {("succeeded", 1)}


def test_a_build_that_the_builder_lost_is_made_again(store: Engine) -> None:
    bench = Workbench(store, [image("base")])
    bench.tell(FIX)
    bench.passes()
    bench.builder.builds.clear()
    bench.finish()
    assert bench.states() == [("base", "succeeded")]
    assert bench.submitted() == ["base", "base"]


def test_a_build_canceled_at_the_builder_is_canceled(store: Engine) -> None:
    bench = Workbench(store, [image("base"), image("app", "base")])
    bench.tell(FIX)
    bench.passes()
    bench.builder.cancel(bench.entry("base").ref)
    bench.finish()
    assert dict(bench.states()) == {"base": "canceled", "app": "blocked"}


def test_a_build_without_the_fix_has_failed_and_names_what_stayed(store: Engine) -> None:
    bench = Workbench(store, [image("base", rpms=(SSL, BASH)), image("app", "base")])
    bench.builder.result = lambda ref: ImageBuild("base:f42", "stale", bench.manifest_of("base:f42"))  # type: ignore[method-assign]
    bench.tell(FIX)
    bench.finish()
    assert dict(bench.states()) == {"base": "failed", "app": "blocked"}
    assert bench.entry("base").reason == f"not-updated: {SSL} is still installed; {FIX} is available"


# --- changes that come while something is under way


def test_changes_that_come_together_are_one_wave(store: Engine) -> None:
    bench = Workbench(store, [image("base", rpms=(SSL, BASH))], settle_seconds=60)
    bench.tell(FIX)
    bench.passes(30)
    bench.tell("bash-5.3-1.fc42")
    bench.passes(20)
    assert bench.states() == []
    bench.finish()
    assert bench.states() == [("base", "succeeded")]
    assert bench.installed("base") == {FIXED, "bash-5.3-1.fc42.x86_64"}


def test_an_urgent_change_does_not_wait_to_settle(store: Engine) -> None:
    bench = Workbench(store, [image("base")], settle_seconds=3600)
    bench.tell(FIX, severity="urgent")
    bench.passes()
    assert bench.states() == [("base", "building")]


def test_a_burst_joins_the_rebuilds_that_wait(store: Engine) -> None:
    bench = Workbench(store, [image("base"), image("app", "base", rpms=(SSL, BASH))])
    bench.tell(FIX)
    bench.passes()
    assert bench.states() == [("base", "building"), ("app", "waiting")]
    for minor in range(3, 20):
        bench.tell(f"bash-5.{minor}-1.fc42")
        bench.passes()
    bench.finish()
    assert bench.states() == [("base", "succeeded"), ("app", "succeeded")]
    assert bench.installed("app") == {FIXED, "bash-5.19-1.fc42.x86_64"}
    with reading(store) as connection:
        found = select(func.count()).select_from(Cause).where(Cause.rebuild_id == bench.entry("app").id)
        assert connection.scalar(found) == 2, "a newer build of a package takes the place of the older"


def test_a_change_for_an_image_that_is_building_gives_one_further_rebuild(store: Engine) -> None:
    bench = Workbench(store, [image("base", rpms=(SSL, BASH))])
    bench.tell(FIX)
    bench.passes()
    bench.tell("bash-5.3-1.fc42")
    bench.passes()
    bench.tell("bash-5.4-1.fc42")
    bench.passes()
    assert bench.states() == [("base", "building"), ("base", "queued")], "one is built, one waits behind it"
    bench.finish()
    assert bench.states() == [("base", "succeeded"), ("base", "succeeded")]
    assert bench.installed("base") == {FIXED, "bash-5.4-1.fc42.x86_64"}


def test_a_rebuild_that_waits_for_a_slot_waits_for_a_parent_that_joins(store: Engine) -> None:
    images = [image("other", rpms=(BASH,)), image("base", rpms=(SSL,)), image("app", "base", rpms=(SSL, BASH))]
    bench = Workbench(store, images, max_builds=1)
    bench.tell("bash-5.3-1.fc42", severity="high")
    bench.passes()
    bench.tell(FIX)
    bench.finish()
    assert bench.submitted().index("base") < bench.submitted().index("app")
    assert bench.submitted().count("app") == 1


def test_the_most_severe_goes_first_and_slots_are_not_exceeded(store: Engine) -> None:
    images = [image("mild", rpms=(SSL,)), image("worse", rpms=(BASH,)), image("first", rpms=("vim-1-1.fc42.noarch",))]
    bench = Workbench(store, images, max_builds=1)
    bench.tell("vim-2-1.fc42")
    bench.passes()
    bench.tell(FIX)
    bench.tell("bash-5.3-1.fc42", severity="high")
    bench.passes(1)
    assert [state for _, state in bench.states()].count("building") == 1
    bench.finish()
    assert bench.submitted() == ["first", "worse", "mild"]


# --- descendants = "all"


def test_with_all_descendants_everything_below_is_rebuilt_even_what_nobody_can_read(store: Engine) -> None:
    images = [image("base"), image("opaque", "base", rpms=None), image("app", "opaque", rpms=())]
    bench = Workbench(store, images, descendants="all")
    bench.tell(FIX)
    bench.finish()
    assert dict(bench.states()) == {"base": "succeeded", "opaque": "succeeded", "app": "succeeded"}
    assert bench.entry("opaque").reason == "not verified: its manifest is unknown"


def test_a_child_of_a_parent_that_came_out_unchanged_is_unneeded(store: Engine) -> None:
    images = [image("base"), image("mid", "base", rpms=()), image("app", "mid", rpms=())]
    bench = Workbench(store, images, descendants="all")
    bench.tell(FIX)
    bench.finish()
    assert dict(bench.states()) == {"base": "succeeded", "mid": "succeeded", "app": "unneeded"}


# --- messages

ODD: list[tuple[str, Any]] = [
    ("bodhi.update.complete.stable", None),
    ("bodhi.update.complete.stable", {"update": {"builds": "all"}}),
    ("buildsys.tag", {"name": "ba\0sh", "version": "5.3", "release": "1.fc42", "tag": "f42-updates"}),
    ("buildsys.tag", {"name": "bash", "version": "\ud800", "release": "1.fc42", "tag": "f42-updates"}),
    ("buildsys.repo.done", []),
]


def test_messages_that_make_no_sense_are_rejected_and_block_nothing(store: Engine) -> None:
    bench = Workbench(store)
    for at, (topic, body) in enumerate(ODD):
        bench.receive(topic, body, f"odd {at}")
    bench.tell(FIX)
    bench.finish()
    assert {state for _, state in bench.states()} == {"succeeded"}
    with reading(store) as connection:
        rejected = inbox.listing(connection, "rejected", 10)
    assert {kept.message.id for kept in rejected} == {f"odd {at}" for at in range(len(ODD))}
    assert all(kept.reason for kept in rejected)


def test_a_version_without_a_digit_blocks_nothing(store: Engine) -> None:
    bench = Workbench(store)
    body = {"name": "fedora-toolbox", "version": "rawhide", "release": "1.fc42", "tag": "f42-updates"}
    bench.receive("buildsys.tag", body, "container")
    bench.receive("buildsys.repo.done", {"tag": "f42-updates"}, "done")
    bench.tell(FIX)
    bench.finish()
    assert {state for _, state in bench.states()} == {"succeeded"}


def test_a_tagged_build_waits_for_its_repository(store: Engine) -> None:
    stream = {"dist": ".fc42", "koji_tags": ["f42-updates"], "repo_tags": ["f42-build"]}
    bench = Workbench(store, [image("base")], streams={"f42": stream})
    tagged = {"name": "openssl", "version": "3.2.2", "release": "1.fc42", "tag": "f42-updates"}
    bench.receive("buildsys.tag", tagged, "tag")
    bench.receive("buildsys.repo.done", {"tag": "f41-build"}, "other")
    bench.passes(60)
    assert bench.states() == []
    bench.receive("buildsys.repo.done", {"tag": "f42-build"}, "done")
    bench.finish()
    assert bench.states() == [("base", "succeeded")]


def test_where_no_repository_is_known_to_take_from_a_tag_none_is_waited_for(store: Engine) -> None:
    bench = Workbench(store, [image("base")], streams={"f42": {"dist": ".fc42", "koji_tags": ["f42-updates"]}})
    tagged = {"name": "openssl", "version": "3.2.2", "release": "1.fc42", "tag": "f42-updates"}
    bench.receive("buildsys.tag", tagged, "tag")
    bench.finish()
    assert bench.states() == [("base", "succeeded")]


def test_a_build_untagged_before_its_repository_was_made_is_forgotten(store: Engine) -> None:
    bench = Workbench(store, [image("base")])
    tagged = {"name": "openssl", "version": "3.2.2", "release": "1.fc42", "tag": "f42-build"}
    bench.receive("buildsys.tag", tagged, "tag")
    bench.receive("buildsys.untag", tagged, "untag")
    bench.finish()
    with reading(store) as connection:
        assert changes.settling(connection) == 0
    assert bench.states() == []


def test_the_median_of_the_last_builds_is_what_the_next_one_is_expected_to_take(store: Engine) -> None:
    bench = Workbench(store, [image("a", seconds=40), image("other", rpms=("bash-5.2-1.fc42.x86_64",), seconds=0)])
    for release in range(2, 5):
        bench.tell(f"openssl-3.2.2-{release}.fc42")
        bench.finish()
    with reading(store) as connection:
        assert build_durations.measured(connection) == {"a:f42": 40}
        wanted = [Change(SourceBuild.parse(nvr), "f42") for nvr in ("openssl-3.2.2-9.fc42", "bash-5.2-2.fc42")]
        drafted = planning.draft(connection, wanted, bench.settings, bench.clock.now)
    assert drafted.seconds == {"a:f42": 40, "other:f42": 40}, "the one has a history, the other its stream's median"


def test_a_build_over_its_time_limit_is_canceled_at_the_builder_and_tried_again(store: Engine) -> None:
    bench = Workbench(store, [image("a", seconds=1000)], time_limit=300, max_attempts=2)
    bench.tell(FIX)
    bench.finish(step=50)
    assert [build.canceled for build in bench.builder.builds.values()] == [True, True]
    assert bench.states() == [("a", "failed")]
    assert bench.entry("a").reason == "gave up after 2 attempts: over its time limit of 300 s"


def test_a_change_that_joins_after_a_lost_answer_is_built_though_the_lost_build_is_found(store: Engine) -> None:
    bench = Workbench(store, [image("a", rpms=(SSL, BASH))])

    def lost(call: str) -> None:
        bench.builder.after = lambda _: None
        raise InfrastructureError("the answer is lost")

    bench.builder.after = lost
    bench.tell(FIX)
    bench.passes()
    assert bench.states() == [("a", "submitting")]
    bench.tell("bash-5.9-1.fc42")
    bench.finish()
    assert bench.states() == [("a", "succeeded"), ("a", "succeeded")]
    assert bench.installed("a") == {FIXED, "bash-5.9-1.fc42.x86_64"}
    assert bench.submitted() == ["a", "a"]
