"""Images on other people's images: they wait for a parent that lacks the update, and follow it when it has that."""

from __future__ import annotations

import time
from typing import Any

import pytest
from integration.workbench import Builder, Given, Holding, Workbench
from msgspec.structs import replace
from sqlalchemy import Engine, event
from starlette.testclient import TestClient
from support.registries import Registry, layer, with_rpms
from support.slowness import within

from rebuilder.config import SimulatedSettings
from rebuilder.domain.image import Image, ImageBuild, Manifest, Parent, ParentKind, Source
from rebuilder.domain.rpm import Rpm
from rebuilder.engine import external_parents
from rebuilder.queries import image_state, why
from rebuilder.store import externals, holds, inventory
from rebuilder.store.database import reading
from rebuilder.web.app import create_app
from rebuilder.web.pages.rendering import segment

pytestmark = pytest.mark.usefixtures("without_tls")
OLD, NEW = "openssl-3.2.1-1.fc42", "openssl-3.2.2-1.fc42"
OWN = "httpd-2.4.1-1.fc42.noarch"


@pytest.fixture
def spec(registry: Registry, request: pytest.FixtureRequest) -> str:
    """A pull spec of the test's own, whose image has the old RPM."""
    name = f"base{abs(hash(request.node.name)) % 10**9}:42"
    registry.push(name, [with_rpms(OLD)])
    return f"{registry.host}/{name}"


def update(registry: Registry, spec: str, *nvrs: str) -> str:
    return registry.push(spec.partition("/")[2], [with_rpms(*nvrs)])


def on(spec: str, name: str, *rpms: str, source: Source | None = None) -> Given:
    parent = Parent(ParentKind.BASE, external=spec) if "/" in spec else Parent(ParentKind.BASE, f"{spec}:f42")
    content = Manifest.of(map(Rpm.parse, rpms or (f"{OLD}.noarch", OWN)))
    image = Image(name, "f42", (parent,), source or Source(), estimate=10)
    return image, ImageBuild(image.key, "first", content)


def told(bench: Workbench, name: str) -> tuple[str, str]:
    """What `why` says of the last update: the verdict, and what that names."""
    with reading(bench.store) as connection:
        (found,) = why.read(connection, f"{name}:f42", bench.settings, bench.clock.now).not_rebuilt
    return found.verdict, found.by or ""


def state(bench: Workbench, name: str) -> tuple[str, bool]:
    """What the image is, and whether a parent of somebody else's is named as the reason."""
    with reading(bench.store) as connection:
        found = image_state.read(connection, bench.settings, bench.clock.now, [f"{name}:f42"])[f"{name}:f42"]
    return str(found.state), "sha256:" in found.why


def digest(bench: Workbench, spec: str) -> str:
    with reading(bench.store) as connection:
        return externals.stored(connection)[spec].digest


def test_images_wait_for_a_parent_that_lacks_the_update_and_are_built_when_it_has_it(
    store: Engine, registry: Registry, spec: str
) -> None:
    bench = Workbench(store, (on(spec, "app"), on("app", "sub")))
    bench.tell(NEW)
    bench.finish()
    assert bench.states() == []
    for name in ("app", "sub"):
        verdict, by = told(bench, name)
        assert (verdict, spec in by, digest(bench, spec)[:19] in by) == ("waits-for-parent", True, True)
        assert state(bench, name) == ("waiting", True)
    update(registry, spec, NEW)
    bench.passes(bench.settings.reconcile.externals_seconds + 10)
    bench.finish()
    assert bench.states() == [("app", "succeeded"), ("sub", "succeeded")]
    assert bench.when("app", "succeeded") <= bench.when("sub", "submitting")
    assert state(bench, "sub") == ("current", False)


def test_a_base_that_has_the_update_already_makes_nobody_wait(store: Engine, registry: Registry, spec: str) -> None:
    update(registry, spec, NEW)
    bench = Workbench(store, (on(spec, "app"),))
    bench.tell(NEW)
    bench.finish()
    assert bench.states() == [("app", "succeeded")]


def test_what_the_image_installs_itself_waits_for_nobody(store: Engine, spec: str) -> None:
    bench = Workbench(store, (on(spec, "app", f"{OLD}.noarch", OWN),))
    bench.tell("httpd-2.4.2-1.fc42")
    bench.finish()
    assert bench.states() == [("app", "succeeded")]


UPGRADING = Source(upgrades="dnf -y upgrade")


@pytest.mark.parametrize(("external", "source", "built"), [
    ("auto", UPGRADING, True), ("auto", Source(), False), ("wait", UPGRADING, False), ("build", Source(), True),
])  # fmt: skip
def test_an_image_that_upgrades_packages_itself_is_built_unless_operators_say_otherwise(
    store: Engine, spec: str, external: str, source: Source, built: bool
) -> None:
    bench = Workbench(store, (on(spec, "app", source=source), on("app", "sub")), external=external)
    bench.tell(NEW)
    bench.finish()
    assert bench.states() == ([("app", "succeeded"), ("sub", "succeeded")] if built else [])
    assert state(bench, "sub")[0] == ("current" if built else "waiting")
    if built:
        with reading(store) as connection:
            (rebuild,) = why.read(connection, "app:f42", bench.settings, bench.clock.now).rebuilds
        by = "dnf -y upgrade" if external == "auto" else 'external = "build"'
        assert [reason["upgrades"] for reason in rebuild.reasons] == [by]


def test_a_rule_decides_for_the_images_that_it_fits(store: Engine, spec: str) -> None:
    rule = {"name": "impatient", "action": "allow", "image": "app", "external": "build"}
    bench = Workbench(store, (on(spec, "app"), on(spec, "other")), policy=[rule])
    bench.tell(NEW)
    bench.finish()
    assert bench.states() == [("app", "succeeded")]
    assert told(bench, "other")[0] == "waits-for-parent"


def test_a_child_that_upgrades_is_built_though_its_parent_waits(store: Engine, spec: str) -> None:
    bench = Workbench(store, (on(spec, "app"), on("app", "sub", source=UPGRADING)))
    bench.tell(NEW)
    bench.finish()
    assert bench.states() == [("sub", "succeeded")]


def test_a_pinned_parent_is_told_with_the_digest_to_pin(store: Engine, registry: Registry, spec: str) -> None:
    pinned = f"{spec}@{registry.push(spec.partition('/')[2], [with_rpms(OLD)])}"
    bench = Workbench(store, (on(pinned, "app"),))
    fixed = update(registry, spec, NEW)
    bench.tell(NEW)
    bench.finish()
    verdict, by = told(bench, "app")
    assert (verdict, fixed in by) == ("pinned-parent", True)
    with reading(store) as connection:
        (found,) = why.read(connection, "app:f42", bench.settings, bench.clock.now).not_rebuilt
    assert found.parent and found.parent["pin"] == fixed


# ── A new base is a change ──────────────────────────────────────────────────────────────────────────────────────────


def pass_interval(bench: Workbench) -> None:
    bench.passes(bench.settings.reconcile.externals_seconds + 10)
    bench.finish()


def test_a_base_that_brings_newer_rpms_is_a_change_that_no_message_told_of(
    store: Engine, registry: Registry, spec: str
) -> None:
    bench = Workbench(store, (on(spec, "app"), on("app", "sub"), on(spec, "current", f"{NEW}.noarch")))
    bench.finish()
    assert bench.states() == []
    update(registry, spec, NEW)
    pass_interval(bench)
    assert bench.states() == [("app", "succeeded"), ("sub", "succeeded")]
    pass_interval(bench)
    assert len(bench.states()) == 2, "once"


def test_a_base_with_the_same_rpms_is_none_unless_any_digest_counts(
    store: Engine, registry: Registry, spec: str
) -> None:
    other = [with_rpms(OLD), layer({"etc/motd": b"new"})]
    bench = Workbench(store, (on(spec, "app"), on("app", "sub")))
    bench.finish()
    registry.push(spec.partition("/")[2], other)
    pass_interval(bench)
    assert bench.states() == []
    bench.settings = bench.settings.model_copy(update={"external_changes": "digest"})
    bench.restart()
    bench.finish()
    assert bench.states() == [("app", "succeeded"), ("sub", "succeeded")]
    assert bench.rebuilds()[0].note.startswith(f"new base: {spec} is sha256:")
    pass_interval(bench)
    assert len(bench.states()) == 2, "once"


def test_where_they_are_ignored_a_new_base_rebuilds_nothing(store: Engine, registry: Registry, spec: str) -> None:
    bench = Workbench(store, (on(spec, "app"),), external_changes="ignore")
    bench.finish()
    update(registry, spec, NEW)
    pass_interval(bench)
    assert bench.states() == []


def test_a_registry_that_is_down_fails_nobody_and_keeps_what_was_known(
    store: Engine, registry: Registry, spec: str
) -> None:
    bench = Workbench(store, (on(spec, "app"),))
    bench.finish()
    known = digest(bench, spec)
    registry.stop()
    try:
        bench.passes(bench.settings.reconcile.externals_seconds + 10)
        bench.tell(NEW)
        bench.finish()
        failure = bench.loop.concerns.externals.failure
        assert failure is not None
        assert spec in failure.reason
        assert digest(bench, spec) == known
        assert told(bench, "app")[0] == "waits-for-parent"
    finally:
        registry.start()
    update(registry, spec, NEW)
    bench.passes(700)
    bench.finish()
    assert bench.loop.concerns.externals.failure is None
    assert bench.states() == [("app", "succeeded")]


def test_of_five_hundred_images_on_twenty_bases_each_base_is_asked_for_once(
    store: Engine, registry: Registry
) -> None:
    specs = [f"{registry.host}/many{n}:42" for n in range(20)]
    for at in specs:
        update(registry, at, OLD)
    images = [on(specs[n % 20], f"image{n}") for n in range(500)]
    bench = Workbench(store, [(replace(image, source=Source()), build) for image, build in images])
    bench.finish()
    before, queries = len(registry.requests()), list[Any]()
    event.listen(store, "before_cursor_execute", lambda *given: queries.append(given[2]))
    began = time.monotonic()
    bench.passes(bench.settings.reconcile.externals_seconds + 10, step=1000)
    took = time.monotonic() - began
    assert len(registry.requests()) - before == 20
    assert took < within(5)
    assert len(queries) < 300


def test_what_was_asked_by_hand_is_what_the_engine_knows(store: Engine, spec: str) -> None:
    bench = Workbench(store, (on(spec, "app"),))
    observed = external_parents.ask(store, bench.settings)
    with store.begin() as connection:
        assert external_parents.save(connection, observed, bench.settings, bench.clock.now) == {spec}
        assert externals.manifests_of(connection, spec)["linux/amd64"] == Manifest.of([Rpm.parse(
            f"{OLD}.noarch", f"{OLD}.src.rpm")])


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


def stands_on(bench: Workbench, name: str) -> dict[str, str]:
    with reading(bench.store) as connection:
        build = inventory.current_builds(connection)[f"{name}:f42"]
    return {parent.spec: parent.at for parent in build.externals}


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


# ── Everybody can see them ──────────────────────────────────────────────────────────────────────────────────────────


def test_they_are_nodes_of_their_own_in_the_graph_the_api_and_the_pages(store: Engine, spec: str) -> None:
    bench = Workbench(store, (on(spec, "app"),))
    bench.finish()
    has = digest(bench, spec)
    with TestClient(create_app(store, bench.settings), base_url="http://localhost") as client:
        (node,) = client.get("/api/v1/graph").json()["externals"]
        assert (node["name"], node["digest"]) == (spec, has)
        (listed,) = client.get("/api/v1/externals").json()
        assert (listed["spec"], listed["digest"], listed["images"]) == (spec, has, ["app:f42"])
        whole = client.get(f"/api/v1/externals/{spec}").json()
        assert whole["rpms"] == {"linux/amd64": [f"{OLD}.noarch"]}
        assert client.get("/api/v1/externals/nowhere/base:1").status_code == 404
        page = client.get(f"/externals/{segment(spec)}")
        assert (page.status_code, has in page.text, "app:f42" in page.text, OLD in page.text) == (200, True, True, True)
        assert spec in client.get("/externals").text
        assert f"/externals/{segment(spec)}" in client.get("/images/app:f42").text
        assert client.get("/externals/nowhere/base:1").status_code == 404


def test_the_api_previews_what_a_base_would_rebuild_before_it_is_taken_up(
    store: Engine, registry: Registry, spec: str
) -> None:
    bench = Workbench(store, (on(spec, "app"), on("app", "sub"), on(spec, "current", f"{NEW}.noarch")))
    bench.finish()
    digest_of_new = registry.push(f"{spec.partition('/')[2].partition(':')[0]}:next", [with_rpms(NEW)])
    with TestClient(create_app(store, bench.settings), base_url="http://localhost") as client:
        def planned(base: str) -> list[str]:
            answer = client.get("/api/v1/plan", params={"base": base})
            return [rebuild["image"] for rebuild in answer.raise_for_status().json()["rebuilds"]]

        assert planned(spec) == []
        assert planned(f"{spec}@{digest_of_new}") == ["app:f42", "sub:f42"]
        assert client.get("/api/v1/plan", params={"base": "nowhere/base:1"}).status_code == 404
        vanished = client.get("/api/v1/plan", params={"base": f"{spec}@sha256:{'0' * 64}"})
        assert (vanished.status_code, "no such image" in vanished.json()["detail"]) == (503, True)
    assert bench.states() == []
