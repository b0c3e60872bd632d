"""Many changes, few builds."""

from __future__ import annotations

from collections import Counter

from integration.workbench import BASH, SSL, Workbench, image
from msgspec.structs import replace
from sqlalchemy import Engine

FIX = "openssl-3.2.2-1.fc42"


def test_a_burst_of_two_hundred_updates_in_ten_minutes_builds_each_image_at_most_twice(store: Engine) -> None:
    rpms = (SSL, BASH)
    tree = (image("base", rpms=rpms, seconds=240), image("mid", "base", rpms=rpms, seconds=240),
            *(image(f"leaf{at}", "mid", rpms=rpms, seconds=240) for at in range(3)))
    bench = Workbench(store, tree, settle_seconds=60, max_builds=10)
    for number in range(200):
        bench.tell(f"{('openssl', 'bash')[number % 2]}-9.{number}-1.fc42")
        if number % 4 == 3:
            bench.passes(seconds=12, step=12)
    bench.finish()
    assert max(Counter(bench.submitted()).values()) <= 2
    for name in ("base", "mid", "leaf0", "leaf2"):
        assert bench.installed(name) == {"openssl-libs-1:9.198-1.fc42.x86_64", "bash-9.199-1.fc42.x86_64"}


def test_while_changes_keep_coming_they_settle_but_not_for_ever(store: Engine) -> None:
    bench = Workbench(store, (image("base"),), settle_seconds=60)
    began = bench.clock.now
    while not bench.states():
        bench.tell(f"openssl-9.{bench.clock.now:.0f}-1.fc42")
        bench.passes(seconds=30, step=30)
    assert 600 <= bench.clock.now - began <= 660


def test_an_older_build_that_comes_late_does_not_take_the_newer_one_s_place(store: Engine) -> None:
    bench = Workbench(store, (image("root", rpms=(BASH,)), image("app", "root", rpms=(SSL, BASH))))
    bench.tell("bash-5.2-2.fc42")
    bench.passes()
    for nvr in ("openssl-3.2.9-1.fc42", FIX):
        bench.tell(nvr)
        bench.passes()
    bench.finish()
    assert "openssl-libs-1:3.2.9-1.fc42.x86_64" in bench.installed("app")
    assert bench.submitted() == ["root", "app"]


def test_a_change_during_a_build_is_followed_by_one_further_build(store: Engine) -> None:
    bench = Workbench(store, (image("app", rpms=(SSL, BASH)),))
    bench.tell(FIX)
    bench.passes()
    for minor in range(3, 9):
        bench.tell(f"bash-5.{minor}-1.fc42")
        bench.passes()
    assert bench.states() == [("app", "building"), ("app", "queued")]
    bench.finish()
    assert bench.submitted() == ["app", "app"]
    assert "bash-5.8-1.fc42.x86_64" in bench.installed("app")


def test_a_further_build_is_dropped_where_the_running_one_took_the_change_along(store: Engine) -> None:
    bench = Workbench(store, (image("base", rpms=(SSL, BASH)), image("app", "base", rpms=(SSL, BASH))))
    bench.tell(FIX)
    bench.passes(seconds=10)
    assert bench.states() == [("base", "succeeded"), ("app", "building")]
    bench.tell("bash-5.9-1.fc42")
    bench.passes()
    assert bench.states()[2:] == [("base", "building"), ("app", "waiting")]
    fresh = "openssl-libs-1:3.2.2-1.fc42.x86_64", "bash-5.9-1.fc42.x86_64"
    (order,) = [build.order for build in bench.builder.builds.values() if build.order.image.name == "app"]
    _, taken = image("app", rpms=fresh)
    assert taken is not None
    bench.builder.builds[order.key].built = replace(taken, ident="taken along")
    bench.finish()
    assert bench.states() == [("base", "succeeded"), ("app", "succeeded"), ("base", "succeeded"), ("app", "unneeded")]


def test_what_stayed_old_is_named_with_the_layer_that_it_comes_from(store: Engine) -> None:
    bench = Workbench(store, (image("base"), image("app", "base")))
    bench.tell(FIX)
    bench.passes(seconds=10)
    (order,) = [build.order for build in bench.builder.builds.values() if build.order.image.name == "app"]
    _, stale = image("app")
    assert stale is not None
    bench.builder.builds[order.key].built = replace(stale, ident="stale")
    bench.finish()
    assert bench.entry("app").reason.startswith(f"not-updated: {SSL} (from base:f42) is still installed; ")


def test_a_lost_build_is_taken_over_by_the_one_that_waits_behind_it(store: Engine) -> None:
    bench = Workbench(store, (image("base", rpms=(SSL, BASH)), image("app", "base", rpms=(SSL,))))
    bench.tell(FIX)
    bench.passes()
    bench.tell("bash-5.9-1.fc42")
    bench.passes()
    assert bench.states() == [("base", "building"), ("app", "waiting"), ("base", "queued")]
    bench.builder.builds.clear()
    bench.finish()
    assert bench.states() == [("base", "unneeded"), ("app", "succeeded"), ("base", "succeeded")]
    assert bench.installed("base") == {"openssl-libs-1:3.2.2-1.fc42.x86_64", "bash-5.9-1.fc42.x86_64"}
    assert bench.submitted() == ["base", "base", "app"]
