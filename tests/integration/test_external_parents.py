"""Images on other people's images: they wait for a parent that lacks the update, and follow it when it has that."""

from __future__ import annotations

import time
from typing import Any

import pytest
from integration import external_bench
from integration.external_bench import NEW, OLD, OWN, digest, on, state, told, update
from integration.workbench import Workbench
from msgspec.structs import replace
from sqlalchemy import Engine, event
from starlette.testclient import TestClient
from support.registries import Registry, layer, with_rpms
from support.slowness import within

from rebuilder.domain.image import Manifest, Source
from rebuilder.domain.rpm import Rpm
from rebuilder.engine import external_parents
from rebuilder.queries import why
from rebuilder.store import externals
from rebuilder.store.database import reading
from rebuilder.web.app import create_app
from rebuilder.web.pages.rendering import segment

spec = external_bench.spec
pytestmark = pytest.mark.usefixtures("without_tls")


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
        failure = bench.loop.controllers.externals.failure
        assert failure is not None
        assert spec in failure.reason
        assert digest(bench, spec) == known
        assert told(bench, "app")[0] == "waits-for-parent"
    finally:
        registry.start()
    update(registry, spec, NEW)
    bench.passes(700)
    bench.finish()
    assert bench.loop.controllers.externals.failure is None
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
