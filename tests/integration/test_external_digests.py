"""The builds of a wave stand on one digest of each of other people's images, wherever its tag goes meanwhile."""

from __future__ import annotations

import pytest
from integration import external_bench
from integration.external_bench import NEW, OLD, digest, on, stands_on, update
from integration.workbench import Builder, Holding, Workbench
from sqlalchemy import Engine
from support.registries import Registry, layer, with_rpms

from rebuilder.config import SimulatedSettings
from rebuilder.engine import external_parents
from rebuilder.store import holds

spec = external_bench.spec
pytestmark = pytest.mark.usefixtures("without_tls")


def test_builds_are_pinned_to_what_was_planned_on_though_the_tag_moves_in_mid_wave(
    store: Engine, registry: Registry, spec: str
) -> None:
    planned_on = update(registry, spec, NEW)
    bench = Workbench(store, (on(spec, "app"), on(spec, "other")), max_builds=1)
    bench.tell(NEW)
    bench.passes()
    update(registry, spec, NEW, "bash-5.3-1.fc42")
    bench.finish()
    pins = {build.order.image.name: build.order.externals for build in bench.builder.builds.values()}
    at = f"{spec.rpartition(':')[0]}@{planned_on}"
    assert {name: [pin.at for pin in found] for name, found in pins.items()} == {"app": [at], "other": [at]}


def test_registries_are_asked_while_changes_settle_so_that_the_plan_is_on_what_they_have(
    store: Engine, registry: Registry, spec: str
) -> None:
    bench = Workbench(store, (on(spec, "app"),), settle_seconds=60)
    bench.finish()
    bench.passes(100)
    update(registry, spec, NEW)
    bench.tell(NEW)
    bench.passes(80)
    assert bench.states() == [("app", "succeeded")]


def test_a_tag_that_moves_in_mid_wave_gives_no_mixture_and_the_next_wave_follows_it(
    store: Engine, registry: Registry, spec: str
) -> None:
    first, repository = update(registry, spec, NEW), spec.rpartition(":")[0]
    bench = Workbench(store, (on(spec, "app"), on(spec, "tool")), max_builds=1, external_changes="ignore",
                      reconcile={"externals_seconds": 3})  # fmt: skip
    bench.tell(NEW)
    bench.passes()
    assert sorted(state for _, state in bench.states()) == ["building", "queued"]
    second = update(registry, spec, "openssl-3.2.3-1.fc42")
    bench.passes(6, step=1)
    assert (digest(bench, spec), len(bench.submitted())) == (second, 1)
    bench.restart()
    bench.finish()
    assert stands_on(bench, "app") == stands_on(bench, "tool") == {spec: f"{repository}@{first}"}
    bench.ask("rebuild", "tool:f42")
    bench.finish()
    assert stands_on(bench, "tool") == {spec: f"{repository}@{second}"}


def test_a_newer_base_in_mid_wave_fails_nobody_and_leaves_nobody_behind(
    store: Engine, registry: Registry, spec: str
) -> None:
    update(registry, spec, NEW)
    bench = Workbench(store, (on(spec, "app"), on(spec, "tool"), on("tool", "sub")), max_builds=1,
                      reconcile={"externals_seconds": 3})  # fmt: skip
    bench.tell(NEW)
    bench.passes()
    second = update(registry, spec, "openssl-3.2.3-1.fc42")
    bench.passes(6, step=1)
    bench.finish()
    assert {state for _, state in bench.states()} <= {"succeeded", "unneeded"}
    assert {name: {rpm for rpm in bench.installed(name) if "openssl" in rpm} for name in ("app", "tool", "sub")} == {
        name: {"openssl-3.2.3-1.fc42.noarch"} for name in ("app", "tool", "sub")}
    repository = spec.rpartition(":")[0]
    assert stands_on(bench, "app") == stands_on(bench, "tool") == {spec: f"{repository}@{second}"}


def test_the_registry_is_asked_before_the_first_build_on_a_parent_and_not_before_each_of_the_next(
    store: Engine, registry: Registry, spec: str
) -> None:
    update(registry, spec, NEW)
    bench = Workbench(store, (on(spec, "app"), on(spec, "tool"), on("tool", "sub")), max_builds=1,
                      reconcile={"externals_seconds": 100_000})  # fmt: skip
    pause(bench)
    bench.tell(NEW)
    bench.passes(3600, step=600)
    moved, before = update(registry, spec, NEW, "bash-5.3-1.fc42"), len(asked_for(registry, spec))
    resume(bench)
    bench.finish()
    assert bench.states() == [("app", "succeeded"), ("tool", "succeeded"), ("sub", "succeeded")]
    assert stands_on(bench, "app") == stands_on(bench, "tool") == {spec: f"{spec.rpartition(':')[0]}@{moved}"}
    asked = [request.split()[0] for request in asked_for(registry, spec)[before:]]
    assert asked == ["HEAD", "GET"]  # that it has moved, and then its manifest


def pause(bench: Workbench) -> None:
    with bench.store.begin() as connection:
        assert holds.pause(connection, "ann", "freeze", bench.clock.now)


def resume(bench: Workbench) -> None:
    with bench.store.begin() as connection:
        assert holds.resume(connection, bench.clock.now)


def asked_for(registry: Registry, spec: str) -> list[str]:
    return registry.requests(f"/{spec.partition('/')[2].replace(':', '/manifests/')}")


def test_a_registry_that_never_answers_keeps_a_build_waiting_for_as_long_as_a_call_may_take(
    store: Engine, registry: Registry, spec: str
) -> None:
    update(registry, spec, NEW)
    bench = Workbench(store, (on(spec, "app"),), reconcile={"externals_seconds": 100_000})
    pause(bench)
    bench.tell(NEW)
    bench.passes(3600, step=600)
    bench.restart(holding := Holding())
    resume(bench)
    others_answer(bench, holding)
    assert bench.submitted() == []
    bench.passes(bench.settings.calls.externals_seconds)
    others_answer(bench, holding)
    assert bench.submitted() == ["app"]


def test_while_registries_are_asked_for_the_first_time_the_engine_waits_and_does_not_spin(
    store: Engine, spec: str
) -> None:
    bench = Workbench(store, (on(spec, "app"),))
    bench.restart(Holding())
    assert [bench.loop.once() for _ in range(5)][-1] == 0


def others_answer(bench: Workbench, holding: Holding) -> None:
    """All calls are answered but for those to registries."""
    for _ in range(10):
        bench.passes(5)
        holding.let(*{held.name for held in holding.held} - {external_parents.ask.__name__})


def test_where_any_digest_counts_one_that_moves_in_mid_wave_is_followed_after_it(
    store: Engine, registry: Registry, spec: str
) -> None:
    bench = Workbench(store, (on(spec, "app"), on("app", "sub")), external_changes="digest",
                      reconcile={"externals_seconds": 3})  # fmt: skip
    bench.finish()
    registry.push(spec.partition("/")[2], [with_rpms(OLD), layer({"etc/motd": b"one"})])
    bench.passes(6, step=1)
    assert bench.states()[0] == ("app", "building")
    last = registry.push(spec.partition("/")[2], [with_rpms(OLD), layer({"etc/motd": b"two"})])
    bench.passes(6, step=1)
    bench.finish()
    assert stands_on(bench, "app") == {spec: f"{spec.rpartition(':')[0]}@{last}"}
    assert [state for _, state in bench.states()] == ["succeeded"] * 4
    bench.passes(4000, step=100)
    assert len(bench.states()) == 4, "once for each digest"


def test_what_is_tried_again_by_hand_takes_the_digest_that_is_there_then(
    store: Engine, registry: Registry, spec: str
) -> None:
    update(registry, spec, NEW)
    bench = Workbench(store, (on(spec, "app"),), external_changes="ignore", reconcile={"externals_seconds": 3},
                      simulated={"failures": ["app:f42"]})  # fmt: skip
    bench.tell(NEW)
    bench.finish()
    assert bench.states() == [("app", "failed")]
    second = update(registry, spec, "openssl-3.2.3-1.fc42")
    bench.passes(6, step=1)
    bench.builder = Builder(SimulatedSettings(), bench.manifest_of, bench.clock)
    bench.restart()
    bench.ask("retry", "app:f42")
    bench.finish()
    assert stands_on(bench, "app") == {spec: f"{spec.rpartition(':')[0]}@{second}"}
