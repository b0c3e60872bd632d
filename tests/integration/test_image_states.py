"""What an image is goes by what is in its current build: not by how its last rebuild ended."""

from __future__ import annotations

import re
import time

import pytest
from integration.workbench import BASH, CHAIN, SSL, Workbench, image
from sqlalchemy import Engine
from support.api_client import Client

from rebuilder.builders import simulated
from rebuilder.domain.currency import Currency, ImageState
from rebuilder.domain.image import Image, ImageBuild, Inventory, Manifest, Parent, ParentKind, Stream
from rebuilder.domain.rpm import Rpm
from rebuilder.store import changes, holds, image_states
from rebuilder.store.database import reading
from rebuilder.store.models import Change
from rebuilder.store.sync import save_inventory

NEW = "openssl-libs-1:3.2.2-1.fc42.x86_64"


@pytest.fixture
def bench(store: Engine) -> Workbench:
    return Workbench(store, (*CHAIN, image("plain", rpms=(BASH,)), image("blind", rpms=None)))


def states(bench: Workbench, *keys: str) -> dict[str, ImageState]:
    with reading(bench.store) as connection:
        return image_states.read(connection, bench.clock.now, keys=keys or None)


def words(bench: Workbench, *keys: str) -> dict[str, str]:
    return {key.removesuffix(":f42"): str(found.state) for key, found in states(bench, *keys).items()}


def hold(bench: Workbench, name: str, until: float | None = None) -> None:
    with bench.store.begin() as connection:
        holds.hold(connection, f"{name}:f42", "ann", "tests are broken", until, bench.clock.now)


def test_with_no_update_all_that_can_be_read_is_current(bench: Workbench) -> None:
    assert words(bench) == {"alone": "current", "app": "current", "base": "current", "blind": "unknown",
                            "mid": "current", "plain": "current"}


def test_an_image_is_stale_from_the_moment_at_which_the_update_is_noticed(bench: Workbench) -> None:
    bench.tell("openssl-3.2.2-1.fc42", severity="high")
    bench.clock.now += 5
    bench.passes()
    bench.clock.now += 100
    found = states(bench)["app:f42"]
    assert (found.state, found.since, found.severity) == (Currency.STALE, 1_000_005.0, "high")
    assert [(one.change.build.nvr, one.change.update) for one in found.missing] == [
        ("openssl-3.2.2-1.fc42", "FEDORA-1")]
    assert words(bench)["plain"] == "current"


def test_all_that_is_missing_is_told_with_the_oldest_first_and_the_worst_severity(bench: Workbench) -> None:
    hold(bench, "alone")
    for nvr, severity in (("openssl-3.2.2-1.fc42", "urgent"), ("openssl-3.2.3-1.fc42", "low")):
        bench.tell(nvr, severity=severity)
        bench.finish()
        bench.clock.now += 1000
    found = states(bench)["alone:f42"]
    assert [one.change.build.nvr for one in found.missing] == ["openssl-3.2.2-1.fc42", "openssl-3.2.3-1.fc42"]
    assert (found.since, found.severity) == (1_000_000.0, "urgent")


def test_a_rebuild_that_took_the_update_up_makes_its_image_current(bench: Workbench) -> None:
    bench.tell("openssl-3.2.2-1.fc42")
    bench.finish()
    assert words(bench)["app"] == "current"
    assert states(bench)["app:f42"].last_rebuild == "succeeded"


def test_an_image_whose_build_failed_is_stale_and_so_are_those_it_blocks(store: Engine) -> None:
    bench = Workbench(store, CHAIN, simulated={"failures": ["mid:f42"]})
    bench.tell("openssl-3.2.2-1.fc42")
    bench.finish()
    assert words(bench) == {"alone": "current", "app": "stale", "base": "current", "mid": "stale"}
    assert states(bench)["mid:f42"].last_rebuild == "failed"


def test_an_image_that_went_back_to_an_old_build_is_stale_though_its_rebuild_succeeded(bench: Workbench) -> None:
    bench.tell("openssl-3.2.2-1.fc42")
    bench.finish()
    inventory = Inventory(tuple(found for found, _ in CHAIN), (Stream("f42", (".fc42",)),),
                          tuple(build for _, build in CHAIN if build is not None))
    with bench.store.begin() as connection:
        save_inventory(connection, inventory, bench.clock.now)
    assert words(bench) == {"alone": "stale", "app": "stale", "base": "stale", "mid": "stale"}
    assert states(bench)["app:f42"].last_rebuild == "succeeded"


def test_a_held_image_says_who_holds_it_and_what_it_lacks(bench: Workbench) -> None:
    hold(bench, "alone")
    bench.tell("openssl-3.2.2-1.fc42", severity="urgent")
    bench.finish()
    found = states(bench)["alone:f42"]
    assert (found.state, found.why, found.severity) == (Currency.HELD, "ann: tests are broken", "urgent")
    assert found.is_risky


def test_a_hold_that_is_over_holds_nothing(bench: Workbench) -> None:
    hold(bench, "plain", until=bench.clock.now + 10)
    assert words(bench)["plain"] == "held"
    bench.clock.now += 10
    assert words(bench)["plain"] == "current"


def test_what_was_withdrawn_is_missed_by_nobody(bench: Workbench) -> None:
    hold(bench, "alone")
    bench.tell("openssl-3.2.2-1.fc42")
    bench.finish()
    with bench.store.begin() as connection:
        changes.withdraw(connection, list(connection.execute(Change.__table__.select()).scalars()), bench.clock.now)
    hold(bench, "alone", until=bench.clock.now)
    assert words(bench)["alone"] == "current"


@pytest.mark.parametrize("keys", [("alone:f42",), ("alone:f42", "blind:f42", "nothing:f42")])
def test_a_few_images_are_what_they_are_among_all(bench: Workbench, keys: tuple[str, ...]) -> None:
    hold(bench, "app")
    bench.tell("openssl-3.2.2-1.fc42")
    bench.passes()
    whole = states(bench)
    assert states(bench, *keys) == {key: whole[key] for key in keys if key in whole}


@pytest.mark.parametrize(
    ("name", "badge"),
    [("base", "current"), ("mid", "stale: rebuild failed"), ("alone", "held: lacks high fix"), ("blind", "unknown"),
     ("plain", "current"), ("nothing", "unknown image")],
)
def test_the_badge_says_what_the_image_is_first(store: Engine, name: str, badge: str) -> None:
    bench = Workbench(store, (*CHAIN, image("plain", rpms=(BASH,)), image("blind", rpms=None)),
                      simulated={"failures": ["mid:f42"]})
    hold(bench, "alone")
    bench.tell("openssl-3.2.2-1.fc42", severity="high")
    bench.finish()
    assert f">{badge}<" in Client(store, bench.settings).http.get(f"/badges/{name}:f42.svg").text


def test_metrics_pages_and_api_count_the_same_states(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    hold(bench, "alone")
    bench.tell("openssl-3.2.2-1.fc42", severity="urgent")
    bench.passes()
    monkeypatch.setattr(time, "time", lambda: bench.clock.now + 60)
    client = Client(bench.store, bench.settings)
    text = client.http.get("/metrics").text
    for state, count in {"current": 1, "stale": 3, "unknown": 1, "held": 1, "waiting": 0}.items():
        assert f'rebuilder_images{{state="{state}"}} {count}.0' in text
        assert len(client.items("images", state=state)) == count
    assert "rebuilder_stale_seconds 60.0" in text
    page = client.http.get("/images").text
    assert len(re.findall(r'class="state s-stale">.*?</svg>stale</span>', page)) == 3


def test_what_an_image_has_from_another_stream_is_measured_by_that_streams_updates(store: Engine) -> None:
    def rpm(nevra: str, source: str = "") -> Rpm:
        return Rpm.parse(nevra, source)

    old = rpm("openssl-libs-1:3.2.1-1.fc44.x86_64", "openssl")
    base = Image("base", "f44", ())
    tool = Image("tool", "f42", (Parent(ParentKind.BASE, "base:f44"),))
    builds = tuple(ImageBuild(one.key, "first", Manifest.of([old])) for one in (base, tool))
    bench = Workbench(store, ())
    with store.begin() as connection:
        streams = (Stream("f42", (".fc42",)), Stream("f44", (".fc44",)))
        save_inventory(connection, Inventory((base, tool), streams, builds), bench.clock.now)
    bench.tell("openssl-3.2.2-1.fc42")
    bench.passes()
    assert set(words(bench).values()) == {"current"}
    with store.begin() as connection:
        (one,) = [n.change for n in changes.recent(connection, 1)]
        newer = type(one)(type(one.build).parse("openssl-3.2.2-1.fc44"), "f44")
        changes.notice(connection, [newer], None, "", bench.clock.now)
    assert words(bench) == {"base:f44": "stale", "tool": "stale"}


def test_of_kernels_side_by_side_the_newest_counts(store: Engine) -> None:
    both = ("kernel-core-6.1-1.fc42.x86_64", "kernel-core-6.2-1.fc42.x86_64")
    bench = Workbench(store, (image("new", rpms=both), image("old", rpms=both[:1])))
    bench.tell("kernel-core-6.2-1.fc42")
    bench.passes()
    assert words(bench) == {"new": "current", "old": "stale"}


def test_an_image_waits_that_was_built_in_vain_on_a_parent_that_others_build(
    store: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = Image("app", "f42", (Parent(ParentKind.BASE, external="registry.example.com/fedora:42"),), estimate=10)
    content = Manifest.of([Rpm.parse(SSL, "openssl")])
    bench = Workbench(store, ((outside, ImageBuild(outside.key, "first", content)),))
    monkeypatch.setattr(simulated, "_updated", lambda rpm, order: rpm)
    bench.tell("openssl-3.2.2-1.fc42")
    bench.passes()
    assert words(bench) == {"app": "stale"}
    bench.finish()
    found = states(bench)["app:f42"]
    assert (found.state, found.why) == (Currency.WAITING, "registry.example.com/fedora:42, which others build")
