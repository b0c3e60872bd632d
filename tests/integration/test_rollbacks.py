"""A bad build is taken back: names, current build and hold, what stands on it, and what cannot be gone back to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.workbench import Workbench, image
from sqlalchemy import Engine
from support import databases, registries, servers
from support.api_client import Client, problem
from support.pushing import PushingBench, announced
from support.registries import Registry

from rebuilder.domain.command import Command
from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import ImageBuild, Inventory
from rebuilder.engine import commands
from rebuilder.messages import ImagePushedV1, ImageRolledBackV1
from rebuilder.registry import skopeo
from rebuilder.registry.document import parse
from rebuilder.store import actions, holds, inventory
from rebuilder.store.database import reading
from rebuilder.store.sync import save_inventory

IMAGES = (image("base"), image("app", "base"))
FIRST, SECOND = "openssl-3.2.2-1.fc42", "openssl-3.2.3-1.fc42"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Engine]:
    found = databases.sqlite(tmp_path / "rollbacks.db")
    yield found
    found.dispose()


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    servers.need("buildah", "buildah")
    with registries.registry(tmp_path / "registry") as found:
        monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(registries.insecure(tmp_path, found.host)))
        yield found


@pytest.fixture
def bench(store: Engine, registry: Registry, tmp_path: Path) -> PushingBench:
    """Two images, the second built on the first, of which each has two builds in the registry: a good and a bad one."""
    found = PushingBench(
        store, tmp_path, {"push": f"{registry.host}/team/{{name}}"}, IMAGES, notify={"enabled": True}
    )
    for nvr in (FIRST, SECOND):
        found.tell(nvr)
        found.finish()
        found.clock.now += 86_400
    return found


def order(bench: Workbench, target: str = "base:f42", **more: Any) -> int:
    with bench.store.begin() as connection:
        wanted = Command("rollback", target, "ann", "it leaks", **more)
        return commands.give(connection, wanted, bench.clock.now).id


def answer(bench: Workbench, number: int) -> str | None:
    with reading(bench.store) as connection:
        return actions.answer(connection, number)


def builds(bench: Workbench, name: str) -> list[dict[str, Any]]:
    """Those that are in the registry, the oldest first."""
    listed = Client(bench.store, bench.settings).reads("builds", image=f"{name}:f42")["items"]
    return [build for build in reversed(listed) if build["pull_specs"]]


def current(bench: Workbench, name: str) -> str:
    with reading(bench.store) as connection:
        return inventory.current_builds(connection)[f"{name}:f42"].ident


def floating(bench: Workbench, name: str) -> str:
    """What the image's floating tag points to in the registry."""
    (place,) = bench.settings.registry.push
    spec = f"{place.format(name=name)}:f42"
    return parse(skopeo.raw_manifest(spec, 20), spec).digest


def went_back(bench: PushingBench, name: str) -> bool:
    """Everything says that the image has its first build again: registry, inventory, and this machine; it is held."""
    good, bad = builds(bench, name)
    with reading(bench.store) as connection:
        held = holds.held(connection, bench.clock.now).get(f"{name}:f42")
    moved = [ident for key, ident in bench.builder.promoted if key == f"{name}:f42"]
    assert (floating(bench, name) == good["digest"]) is (current(bench, name) == good["ident"]) is (held is not None)
    assert (moved[-1] == good["ident"]) is (held is not None)
    return held is not None and bad["ident"] != current(bench, name)


def test_names_and_current_build_go_back_and_the_image_is_held(bench: PushingBench) -> None:
    good, bad = builds(bench, "base")
    assert floating(bench, "base") == bad["digest"]
    number = order(bench)
    bench.finish()
    assert went_back(bench, "base")
    assert not went_back(bench, "app")
    told = answer(bench, number)
    assert told is not None
    assert told.startswith(f"base:f42 goes back from {bad['ident']} to {good['ident']}, and is held")
    assert "still on the bad build: app:f42 (--with-descendants" in told
    client = Client(bench.store, bench.settings)
    why = client.reads("images/base:f42/why")
    assert why["taken_back"] == f"{bad['ident']} was taken back by ann: it leaks; {good['ident']} is current again"
    assert why["held"]["reason"] == f"rolled back to {good['ident']}: it leaks"
    assert bad["ident"] in client.reads("images/app:f42/why")["rolled_back"]
    page = client.http.get("/images/base:f42").text
    assert "was taken back by ann: it leaks" in page and f"Current build <code>{good['ident']}" in page
    assert [held["image"] for held in client.reads("holds")] == ["base:f42"]
    (need,) = [need for need in client.reads("status")["needs"] if need["kind"] == "rollback"]
    assert need["what"] == f"base:f42: {why['taken_back']}" and "rebuilder release base:f42" in need["do"]
    assert need["what"] in client.http.get("/").text
    (listed,) = client.reads("pull-specs", image="base")
    assert (listed["digest"], listed["is_current"]) == (good["digest"], True)


def test_it_is_announced_before_the_names_that_move(bench: PushingBench) -> None:
    good, bad = builds(bench, "base")
    before = len(announced(bench.store))
    order(bench)
    bench.finish()
    rolled, pushed = announced(bench.store)[before:]
    assert isinstance(rolled, ImageRolledBackV1) and isinstance(pushed, ImagePushedV1)
    assert (rolled.body["bad"]["nvr"], rolled.body["build"]["nvr"]) == (bad["ident"], good["ident"])
    assert (rolled.body["built_on_bad"], rolled.agent_name) == (["app:f42"], "ann")
    assert pushed.body["names"] == rolled.body["names"] != []
    assert pushed.body["build"]["digest"] == good["digest"]
    assert rolled.summary.endswith(": it leaks")


def test_with_descendants_what_is_built_on_it_goes_back_too(bench: PushingBench) -> None:
    number = order(bench, with_descendants=True)
    bench.finish()
    assert went_back(bench, "base") and went_back(bench, "app")
    assert "still on" not in (answer(bench, number) or "still on")


def test_the_same_update_does_not_bring_the_bad_build_back(bench: PushingBench) -> None:
    bad = builds(bench, "base")[-1]
    order(bench, with_descendants=True)
    bench.finish()
    submitted = bench.submitted()
    bench.tell(SECOND, ident="again")
    with bench.store.begin() as connection:
        graph = inventory.load(connection)
        told = ImageBuild("base:f42", bad["ident"])
        save_inventory(connection, Inventory(graph.images, inventory.streams(connection), (told,)), bench.clock.now)
    bench.passes(bench.settings.reconcile.every_seconds + 60, step=60)
    assert bench.submitted() == submitted
    assert went_back(bench, "base")


def test_an_engine_that_dies_between_all_steps_makes_each_of_them_in_the_end(bench: PushingBench) -> None:
    order(bench, with_descendants=True)
    for _ in range(30):
        bench.loop.once()
        bench.loop.once()
        bench.restart()
        bench.clock.now += 5
    bench.finish()
    assert went_back(bench, "base") and went_back(bench, "app")


def test_a_build_that_is_gone_from_this_machine_is_brought_back_from_the_registry(bench: PushingBench) -> None:
    good = builds(bench, "base")[0]
    bench.builder.images.storage.remove(good["ident"])
    assert not bench.builder.keeps(good["ident"])
    order(bench)
    bench.finish()
    assert went_back(bench, "base")
    assert bench.builder.fetched == good["pull_specs"]
    assert bench.builder.keeps(good["ident"])


def test_a_build_that_is_gone_from_the_registry_is_refused_with_those_that_are_there(
    bench: PushingBench, registry: Registry
) -> None:
    bench.tell("openssl-3.2.4-1.fc42")
    bench.finish()
    first, second, third = builds(bench, "base")
    registry.delete("team/base", first["digest"])
    number = order(bench, build=first["ident"])
    bench.finish()
    told = f"not rolled back: build {first['ident']} of base:f42 is gone; there are: {second['ident']}"
    assert answer(bench, number) == told
    assert (current(bench, "base"), floating(bench, "base")) == (third["ident"], third["digest"])
    registry.delete("team/base", second["digest"])
    number = order(bench)
    bench.finish()
    assert answer(bench, number) == "not rolled back: no earlier build of base:f42 is there any more"
    with reading(bench.store) as connection:
        assert holds.held(connection, bench.clock.now) == {}


def test_while_the_registry_is_away_nothing_changes_and_it_is_asked_again(
    bench: PushingBench, registry: Registry
) -> None:
    registry.stop()
    number = order(bench)
    bench.passes(60)
    assert answer(bench, number) is None
    status = Client(bench.store, bench.settings).reads("status")
    assert [(one["verb"], one["target"]) for one in status["requests"]] == [("rollback", "base:f42")]
    failure = bench.loop.controllers.rollbacks.failure
    assert failure is not None and "cannot be reached" in failure.reason
    registry.start()
    bench.finish()
    assert went_back(bench, "base")
    assert bench.loop.controllers.rollbacks.failure is None


def test_what_cannot_be_gone_back_to_is_refused_at_once(store: Engine) -> None:
    bench = Workbench(store)
    with pytest.raises(RequestError, match="base:f42 has no earlier good build to go back to"):
        order(bench)
    bench.tell(FIRST)
    bench.finish()
    with pytest.raises(RequestError, match="has no earlier good build 1234567; there are: first"):
        order(bench, build="1234567")
    with pytest.raises(RequestError, match="give --reason"), store.begin() as connection:
        commands.give(connection, Command("rollback", "base:f42", "ann"), bench.clock.now)


def test_the_api_needs_a_scope_and_a_reason(store: Engine) -> None:
    bench = Workbench(store)
    bench.tell(FIRST)
    bench.finish()
    client = Client(store, bench.settings)
    wrong, right = client.token("night", "hold"), client.token("ann", "rollback:base*:f42")
    asked = {"verb": "rollback", "target": "base:f42", "reason": "it leaks"}
    assert "lacks the scope rollback:base:f42" in problem(client.orders(wrong, **asked), 403)
    assert "without a pattern" in problem(client.orders(right, **asked, with_descendants=True), 403)
    assert "reason" in problem(client.orders(right, verb="rollback", target="base:f42"), 422)
    given = client.orders(right, **asked)
    assert given.status_code == 202
    bench.finish()
    # Nothing of it was ever in a registry, and the simulated builder keeps nothing.
    told = client.reads(f"actions/{given.json()['id']}")
    assert told["answer"] == "not rolled back: no earlier build of base:f42 is there any more"
