"""Where any new digest of a base counts, one is a change like any other: planned, explained, counted and covered."""

from __future__ import annotations

from typing import Any

import pytest
from integration.external_bench import NEW, OLD, on, stands_on
from integration.workbench import Builder, Workbench
from msgspec.structs import replace
from sqlalchemy import Engine
from starlette.testclient import TestClient
from support.registries import Registry, layer, with_rpms

from rebuilder.config import SimulatedSettings
from rebuilder.domain.image import ImageBuild
from rebuilder.queries import coverage, image_state, status, why
from rebuilder.queries.coverage import Coverage
from rebuilder.store import holds, inventory
from rebuilder.store.database import reading
from rebuilder.store.sync import record_builds
from rebuilder.web.app import create_app
from rebuilder.web.pages.rendering import segment

pytestmark = pytest.mark.usefixtures("without_tls")
INTERVAL = 4000


@pytest.fixture
def spec(registry: Registry, request: pytest.FixtureRequest) -> str:
    name = f"moved{abs(hash(request.node.name)) % 10**9}:42"
    registry.push(name, [with_rpms(OLD)])
    return f"{registry.host}/{name}"


def push(registry: Registry, spec: str, motd: str) -> str:
    """The same RPMs under another digest."""
    return registry.push(spec.partition("/")[2], [with_rpms(OLD), layer({"etc/motd": motd.encode()})])


def settled(store: Engine, spec: str, **settings: Any) -> Workbench:
    """App on the base, sub on app, and other on the base too; nothing has moved yet."""
    given = {"external_changes": "digest", **settings}
    bench = Workbench(store, (on(spec, "app"), on("app", "sub"), on(spec, "other")), **given)
    bench.finish()
    bench.passes(10)
    return bench


def settled_to_fail(store: Engine, spec: str) -> Workbench:
    """The same; from then on no build of app succeeds."""
    bench = settled(store, spec)
    bench.builder = Builder(SimulatedSettings(failures=("app:f42",)), bench.manifest_of, bench.clock)
    bench.restart()
    return bench


def moved_to(bench: Workbench, registry: Registry, spec: str, motd: str) -> str:
    digest = push(registry, spec, motd)
    bench.passes(INTERVAL, step=200)
    return digest


def covered(bench: Workbench, name: str) -> Coverage:
    with reading(bench.store) as connection:
        return coverage.read(connection, name, bench.settings, bench.clock.now)


def told(found: Coverage) -> dict[str, str]:
    return {one.image.removesuffix(":f42"): one.state for fix in found.fixes for one in fix.images}


def states(bench: Workbench) -> dict[str, str]:
    with reading(bench.store) as connection:
        found = image_state.read(connection, bench.settings, bench.clock.now)
    return {image.removesuffix(":f42"): str(state.state) for image, state in found.items()}


def asked_why(bench: Workbench, name: str) -> why.Why:
    with reading(bench.store) as connection:
        return why.read(connection, f"{name}:f42", bench.settings, bench.clock.now)


def test_a_digest_is_covered_when_every_image_on_the_base_stands_on_it(
    store: Engine, registry: Registry, spec: str
) -> None:
    bench = settled(store, spec, max_builds=1)
    first = moved_to(bench, registry, spec, "one")
    everywhere = {"app": "current", "other": "current", "sub": "current"}
    found = covered(bench, spec)
    assert (found.percent, found.everywhere, told(found)) == (100.0, True, everywhere)
    second = push(registry, spec, "two")
    bench.passes(1000, step=1000)
    found = covered(bench, f"{spec}@{second}")
    assert not found.everywhere
    assert told(found) == {"app": "building", "other": "queued", "sub": "waiting"}
    assert [one.installed for fix in found.fixes for one in fix.images] == [(first,)] * 3
    assert covered(bench, f"{spec}@{first}").everywhere, "of the digest before it is still true"
    bench.finish()
    assert covered(bench, f"{spec}@{second[:19]}").everywhere
    assert covered(bench, f"{spec}@{first}").everywhere, "a later one counts"


def test_an_image_that_does_not_stand_on_the_digest_is_stale_whatever_became_of_its_rebuild(
    store: Engine, registry: Registry, spec: str
) -> None:
    bench = settled_to_fail(store, spec)
    digest = moved_to(bench, registry, spec, "one")
    assert dict(bench.states()) == {"app": "failed", "sub": "blocked", "other": "succeeded"}
    assert states(bench) == {"app": "stale", "sub": "stale", "other": "current"}
    found = covered(bench, f"{spec}@{digest}")
    assert (found.percent, told(found)) == (33.3, {"app": "failed", "sub": "blocked", "other": "current"})
    base = asked_why(bench, "sub").base
    assert base is not None
    assert (base.spec, base.digest) == (spec, digest)


def test_why_tells_the_digest_that_a_rebuild_was_for(store: Engine, registry: Registry, spec: str) -> None:
    bench = settled(store, spec)
    digest = moved_to(bench, registry, spec, "one")
    for name in ("app", "sub"):
        found = asked_why(bench, name)
        assert [(base.spec, base.digest) for base in found.rebuilds[0].bases] == [(spec, digest)]
        assert found.base is None


def test_what_failed_on_one_digest_is_tried_again_on_the_next_and_on_no_other_occasion(
    store: Engine, registry: Registry, spec: str
) -> None:
    bench = settled_to_fail(store, spec)
    moved_to(bench, registry, spec, "one")
    bench.passes(INTERVAL, step=200)
    assert [state for image, state in bench.states() if image == "app"] == ["failed"]
    bench.builder = Builder(SimulatedSettings(), bench.manifest_of, bench.clock)
    bench.restart()
    digest = moved_to(bench, registry, spec, "two")
    assert dict(bench.states()[-3:]) == dict.fromkeys(("app", "other", "sub"), "succeeded")
    assert covered(bench, f"{spec}@{digest}").everywhere


def test_a_build_that_comes_out_on_another_digest_all_the_same_is_told_and_not_repeated(
    store: Engine, registry: Registry, spec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the builder has the base from a mirror that is behind, and says so."""
    bench = settled(store, spec)
    made = bench.builder.result
    behind = f"{spec.rpartition(':')[0]}@sha256:{'7' * 64}"

    def result(ref: str) -> ImageBuild:
        build = made(ref)
        return replace(build, externals=tuple(replace(pin, at=behind) for pin in build.externals))

    monkeypatch.setattr(bench.builder, "result", result)
    moved_to(bench, registry, spec, "one")
    bench.passes(INTERVAL, step=200)
    assert sorted(bench.states()) == [("app", "succeeded"), ("other", "succeeded"), ("sub", "succeeded")]
    assert set(states(bench).values()) == {"stale"}
    assert covered(bench, spec).percent == 0.0


def test_an_image_that_was_rebuilt_alone_leaves_its_child_behind_no_longer(
    store: Engine, registry: Registry, spec: str
) -> None:
    bench = settled(store, spec, external_changes="ignore")
    digest = moved_to(bench, registry, spec, "one")
    bench.ask("rebuild", "app:f42")
    bench.finish()
    assert stands_on(bench, "app") == {spec: f"{spec.rpartition(':')[0]}@{digest}"}
    assert told(covered(bench, spec)) == {"app": "current", "other": "stale", "sub": "stale"}
    bench.settings = bench.settings.model_copy(update={"external_changes": "digest"})
    bench.restart()
    bench.finish()
    assert sorted(bench.states()[1:]) == [("other", "succeeded"), ("sub", "succeeded")]
    assert covered(bench, spec).everywhere


def test_a_build_of_which_nobody_knows_the_base_is_never_counted_as_covered(
    store: Engine, registry: Registry, spec: str
) -> None:
    bench = settled(store, spec)
    moved_to(bench, registry, spec, "one")
    with bench.store.begin() as connection:
        ids = inventory.ids(connection)
        record_builds(connection, [ImageBuild("other:f42", "theirs", None)], ids, bench.clock.now)
    found = covered(bench, spec)
    assert (found.everywhere, told(found)["other"]) == (False, "unknown")


def test_rules_keep_images_from_new_bases_and_are_named(store: Engine, registry: Registry, spec: str) -> None:
    rule = {"name": "frozen", "action": "deny", "image": "other"}
    bench = settled(store, spec, policy=[rule])
    digest = moved_to(bench, registry, spec, "one")
    assert bench.states() == [("app", "succeeded"), ("sub", "succeeded")]
    base = asked_why(bench, "other").base
    assert base is not None
    assert (base.digest, base.rule, base.stands_on) == (digest, "frozen", None)


def test_a_held_image_is_built_when_it_is_released(store: Engine, registry: Registry, spec: str) -> None:
    bench = settled(store, spec)
    with bench.store.begin() as connection:
        holds.hold(connection, "app:f42", "ann", "freeze", None, bench.clock.now)
    push(registry, spec, "one")
    bench.passes(INTERVAL, step=200)
    assert told(covered(bench, spec)) == {"app": "queued", "other": "current", "sub": "waiting"}
    with bench.store.begin() as connection:
        holds.release(connection, "app:f42", "ann", "", bench.clock.now)
    bench.finish()
    assert covered(bench, spec).everywhere


def test_the_status_names_a_new_base_as_an_update_under_way(store: Engine, registry: Registry, spec: str) -> None:
    bench = settled(store, spec, max_builds=1)
    digest = push(registry, spec, "one")
    bench.passes(1000, step=1000)
    with reading(bench.store) as connection:
        (found,) = status.read(connection, bench.settings, bench.clock.now).updates
    assert (found.name, found.done, found.total) == (f"{spec}@{digest}", 0, 3)


def test_the_pages_and_the_api_answer_for_a_digest(store: Engine, registry: Registry, spec: str) -> None:
    bench = settled(store, spec)
    digest = moved_to(bench, registry, spec, "one")
    with TestClient(create_app(store, bench.settings), base_url="http://localhost") as client:
        name = f"{spec}@{digest}"
        assert client.get(f"/api/v1/coverage/{segment(name)}").json()["percent"] == 100.0
        page = client.get(f"/updates/{segment(name)}")
        assert (page.status_code, "3 of 3 images stand on it" in page.text, digest in page.text) == (200, True, True)
        assert f"/updates/{segment(name)}" in client.get(f"/externals/{segment(spec)}").text
        push(registry, spec, "two")
        bench.passes(1000, step=1000)
        stale = client.get("/images/app:f42")
        assert (stale.status_code, "Its base" in stale.text) == (200, True)
        assert client.get("/api/v1/images/app:f42").json()["base"]["stands_on"] == digest
        wrong = client.get(f"/api/v1/coverage/{segment(f'{spec}@latest')}")
        assert (wrong.status_code, "not a digest" in wrong.json()["detail"]) == (400, True)


def test_the_preview_has_what_does_not_stand_on_the_digest_yet(store: Engine, registry: Registry, spec: str) -> None:
    rule = {"name": "frozen", "action": "deny", "image": "other"}
    bench = settled(store, spec, policy=[rule])
    before = moved_to(bench, registry, spec, "one")
    new = registry.push(f"{spec.partition('/')[2].partition(':')[0]}:next", [with_rpms(NEW)])
    with TestClient(create_app(store, bench.settings), base_url="http://localhost") as client:
        def planned(digest: str) -> tuple[list[str], dict[str, str]]:
            answer = client.get("/api/v1/plan", params={"base": f"{spec}@{digest}"}).raise_for_status().json()
            skipped = {one["image"]: one["reason"] for one in answer["skipped"]}
            return [rebuild["image"] for rebuild in answer["rebuilds"]], skipped

        assert planned(new) == (["app:f42", "sub:f42"], {"other:f42": "policy"})
        current = dict.fromkeys(("app:f42", "sub:f42"), "already-current")
        assert planned(before) == ([], {"other:f42": "policy", **current})
