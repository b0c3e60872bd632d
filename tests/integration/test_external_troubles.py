"""Registries of external parents that give trouble: the engine tells it, builds nothing pointless, and goes on."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from integration.external_bench import NEW, OLD, digest, on, told, update
from integration.test_registry_reader import NDB, stubborn
from integration.workbench import Workbench
from sqlalchemy import Engine
from support import busy, registries
from support.authority import Authority
from support.buildah_world import until
from support.registries import Registry, with_rpms

from rebuilder.queries import status
from rebuilder.store.database import reading

pytestmark = pytest.mark.usefixtures("without_tls")
ASKED_FOR = 2  # seconds, as Retry-After says it
LATER = 700  # seconds: longer than the longest pause between questions


def workbench(store: Engine, spec: str, **settings: object) -> Workbench:
    bench = Workbench(store, (on(spec, "app"), on("app", "sub")), **settings)
    bench.finish()
    return bench


def trouble(bench: Workbench) -> str:
    """What the status says of external parents; "" where all is well."""
    bench.loop.beat()
    with reading(bench.store) as connection:
        problems = status.read(connection, bench.settings, bench.clock.now).problems
    return next((problem.reason for problem in problems if problem.what == "external parents"), "")


def goes_well(bench: Workbench) -> bool:
    """Whether there is no trouble any more, some time later by the engine's clock."""
    bench.passes(LATER, step=100)
    return bench.loop.controllers.externals.failure is None


def test_a_registry_that_answers_429_is_left_alone_as_long_as_it_asks_and_its_images_are_built_then(
    store: Engine, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.push("hurried:42", [with_rpms(OLD)])
    refusing: list[bool] = []
    with busy.in_front_of(registry, lambda _: bool(refusing), lambda: str(ASKED_FOR)) as server:
        reach(tmp_path, monkeypatch, server.host)
        spec = f"{server.host}/hurried:42"
        bench = workbench(store, spec, registry={"call_seconds": 1})
        known = digest(bench, spec)
        refusing.append(True)
        fixed = update(registry, f"{registry.host}/hurried:42", NEW)
        bench.tell(NEW)
        bench.passes(LATER + 900, step=100)
        assert "429" in trouble(bench)
        assert (digest(bench, spec), bench.states()) == (known, [])
        assert told(bench, "sub")[0] == "waits-for-parent"
        assert all(later - earlier >= ASKED_FOR for earlier, later in pairwise(server.refused)), "it is left alone"
        refusing.clear()
        until(lambda: goes_well(bench))
        bench.finish()
    assert digest(bench, spec) == fixed
    assert bench.states() == [("app", "succeeded"), ("sub", "succeeded")]
    assert trouble(bench) == ""


def reach(folder: Path, monkeypatch: pytest.MonkeyPatch, *hosts: str) -> None:
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(registries.insecure(folder, *hosts)))


def test_a_registry_that_wants_a_login_is_told_with_what_to_do_and_answers_once_somebody_has_logged_in(
    store: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with registries.private(tmp_path / "private") as private:
        reach(tmp_path, monkeypatch, private.host)
        private.push("base:42", [with_rpms(NEW)])
        bench = workbench(store, f"{private.host}/base:42")
        assert f"skopeo login {private.host}" in trouble(bench)
        (tmp_path / "auth.json").write_text(registries.logins({private.host: "builder:secret"}))
        assert goes_well(bench)
        bench.tell(NEW)
        bench.finish()
    assert bench.states() == [("app", "succeeded"), ("sub", "succeeded")]


def test_a_registry_with_a_foreign_certificate_is_told_with_where_its_authority_belongs(
    store: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = str(Authority(tmp_path).issue("server"))
    tls = {"http": {"tls": {"certificate": certificate, "key": certificate}}}
    monkeypatch.delenv("CONTAINERS_REGISTRIES_CONF")
    with registries.registry(tmp_path / "foreign", more=tls, scheme="https") as foreign:
        foreign.push("base:42", [with_rpms(NEW)])
        bench = workbench(store, f"{foreign.host}/base:42")
        assert f"certs.d/{foreign.host}" in trouble(bench)
        reach(tmp_path, monkeypatch, foreign.host)  # as where somebody has decided to trust it
        assert goes_well(bench)
    assert trouble(bench) == ""


def test_a_registry_that_is_slow_keeps_no_other_one_from_being_asked(
    store: Engine, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.push("quick:42", [with_rpms(NEW)])
    with stubborn(200, 30) as slow:
        reach(tmp_path, monkeypatch, slow, registry.host)
        spec = f"{registry.host}/quick:42"
        images = on(f"{slow}/base:42", "late"), on(spec, "app")
        bench = Workbench(store, images, registry={"call_seconds": 1.5})
        bench.tell(NEW)
        bench.passes(LATER, step=100)
        assert "in time" in trouble(bench) or "no answer within" in trouble(bench)
        assert ("app", "succeeded") in bench.states()
        assert digest(bench, f"{slow}/base:42") == ""


@pytest.mark.parametrize("back", [True, False])
def test_a_tag_that_vanishes_leaves_what_was_known_until_it_is_back(
    store: Engine, registry: Registry, back: bool
) -> None:
    name = f"fleeting-{back}:42".lower()
    first = registry.push(name, [with_rpms(OLD)])
    bench = workbench(store, f"{registry.host}/{name}")
    registry.delete(name.partition(":")[0], first)
    bench.passes(LATER + 900, step=100)
    assert "no such image" in trouble(bench)
    assert digest(bench, f"{registry.host}/{name}") == first
    if back:
        second = registry.push(name, [with_rpms(NEW)])
        bench.passes(LATER, step=100)
        bench.finish()
        assert digest(bench, f"{registry.host}/{name}") == second
        assert bench.states() == [("app", "succeeded"), ("sub", "succeeded")]


def test_an_ndb_that_zypper_left_is_what_is_compared(store: Engine, registry: Registry) -> None:
    """As openSUSE's images have their RPMs, with the one database of that kind that the tests have."""
    registry.push("leap:42", [registries.layer({f"{registries.DATABASE}/Packages.db": NDB})])
    spec = f"{registry.host}/leap:42"
    bench = workbench(store, spec)
    bench.tell(NEW)
    bench.finish()
    assert told(bench, "app")[0] == "waits-for-parent"
    update(registry, spec, NEW)
    bench.passes(LATER + 900, step=100)
    bench.finish()
    assert bench.states() == [("app", "succeeded"), ("sub", "succeeded")]
