"""Whatever happened: no answer says current, or 100 %, while a current build holds an older RPM."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from integration.workbench import Workbench, image
from sqlalchemy import Connection, select
from support import databases, truth
from support.api_client import Client
from support.examples import examples

from rebuilder.domain.change import Change, Severity
from rebuilder.domain.command import Command
from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import ImageBuild, Inventory, Manifest, Stream
from rebuilder.domain.rpm import EVR, Rpm, SourceBuild
from rebuilder.engine import commands
from rebuilder.store import changes, holds, inventory, models
from rebuilder.store.database import reading
from rebuilder.store.sync import record_builds, save_inventory

NAMES, SOURCES = ("base", "mid", "app"), ("openssl", "bash")
RELEASES = st.sampled_from(["1.0-1.fc42", "1.1-1.fc42", "1.1-2.fc42", "2.0~rc1-1.fc42", "2.0-1.fc42"])
EPOCHS = st.sampled_from([0, 1])
Step = Callable[[Connection, float], None]


def noticed(source: str, release: str, epoch: int | None, stream: str) -> Step:
    version, _, rest = release.partition("-")
    change = Change(SourceBuild(source, EVR(epoch, version, rest)), stream, Severity.URGENT, "FEDORA-1")
    return lambda connection, now: void(changes.notice(connection, [change], None, "", now))


def built(name: str, releases: dict[str, str], epoch: int, number: int) -> Step:
    rpms = [Rpm.parse(f"{source}-libs-{epoch}:{release}.x86_64", source) for source, release in releases.items()]
    build = ImageBuild(f"{name}:f42", f"build-{number}", Manifest.of(rpms))
    return lambda connection, now: void(record_builds(connection, [build], inventory.ids(connection), now))


def unreadable(name: str, number: int) -> Step:
    build = ImageBuild(f"{name}:f42", f"unread-{number}", None)
    return lambda connection, now: void(record_builds(connection, [build], inventory.ids(connection), now))


def withdrawn(number: int) -> Step:
    def step(connection: Connection, now: float) -> None:
        ids = list(connection.scalars(select(models.Change.id).order_by(models.Change.id)))
        changes.withdraw(connection, ids[number : number + 1], now)

    return step


def held(name: str, seconds: float | None) -> Step:
    return lambda connection, now: holds.hold(
        connection, f"{name}:f42", "ann", "", None if seconds is None else now + seconds, now)


def void(_: Any) -> None:
    """Steps give nothing back."""


STEPS = st.one_of(
    st.builds(noticed, st.sampled_from(SOURCES), RELEASES, st.none() | EPOCHS, st.sampled_from(["f42", "f42", "f43"])),
    st.builds(built, st.sampled_from(NAMES), st.dictionaries(st.sampled_from(SOURCES), RELEASES), EPOCHS,
              st.integers(0, 10_000)),
    st.builds(unreadable, st.sampled_from(NAMES), st.integers(0, 10_000)),
    st.builds(withdrawn, st.integers(0, 5)),
    st.builds(held, st.sampled_from(NAMES), st.none() | st.sampled_from([0.0, 1e12])),
)  # fmt: skip


@examples(40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, max_size=12))
def test_no_answer_is_green_while_a_current_build_holds_an_older_rpm(steps: list[Step]) -> None:
    with TemporaryDirectory() as folder:
        store = databases.sqlite(Path(folder) / "test.db")
        bench = Workbench(store, [image(name, rpms=("openssl-libs-1:1.0-1.fc42.x86_64",)) for name in NAMES])
        for at, step in enumerate(steps):
            with store.begin() as connection:
                step(connection, bench.clock.now + at)
        no_answer_lies(bench)
        store.dispose()


Deed = Callable[[Workbench], None]


def told(nvr: str, severity: str) -> Deed:
    return lambda bench: bench.tell(nvr, severity=severity)


def worked(seconds: float) -> Deed:
    """The engine works for so long: waves may be half done after it."""
    return lambda bench: bench.passes(seconds)


def ordered(verb: str, name: str, **more: Any) -> Deed:
    def deed(bench: Workbench) -> None:
        with suppress(RequestError), bench.store.begin() as connection:
            commands.give(connection, Command(verb, f"{name}:f42", "ann", "", **more), bench.clock.now)

    return deed


def has_images(names: frozenset[str]) -> Deed:
    """The inventory is said anew, with what its document said at first; images leave it and come back."""
    def deed(bench: Workbench) -> None:
        given = [one for one in FAMILY if one[0].name in names]
        builds = tuple(build for _, build in given if build is not None)
        whole = Inventory(tuple(one for one, _ in given), (Stream("f42", (".fc42",)),), builds)
        with bench.store.begin() as connection:
            save_inventory(connection, whole, bench.clock.now)

    return deed


OLD = "openssl-libs-1:1.0-1.fc42.x86_64"
FAMILY = (image("base", rpms=(OLD,)), image("mid", "base", rpms=(OLD,)), image("app", "mid", rpms=(OLD,)))
NVRS = st.sampled_from(["openssl-1.1-1.fc42", "openssl-1.1-2.fc42", "openssl-2.0-1.fc42", "bash-1.1-1.fc42"])
DEEDS = st.one_of(
    st.builds(told, NVRS, st.sampled_from(["low", "urgent"])),
    st.builds(worked, st.sampled_from([0.0, 100.0, 400.0, 5000.0])),
    st.builds(ordered, st.sampled_from(["hold", "release", "cancel", "retry", "rebuild", "rollback"]),
              st.sampled_from(NAMES)),
    st.builds(has_images, st.sampled_from([frozenset(NAMES), frozenset({"base"}), frozenset({"base", "mid"})])),
)  # fmt: skip


@examples(8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(DEEDS, max_size=10), st.sampled_from(["", "mid:f42", "app:f42"]))
def test_no_answer_is_green_whatever_the_engine_and_operators_did(deeds: list[Deed], failing: str) -> None:
    """Waves that are half done, failed or canceled, builds that were taken back, images that left and came back."""
    with TemporaryDirectory() as folder:
        store = databases.sqlite(Path(folder) / "test.db")
        bench = Workbench(store, FAMILY, simulated={"failures": [failing] if failing else []})
        for deed in deeds:
            deed(bench)
        no_answer_lies(bench)
        store.dispose()


def no_answer_lies(bench: Workbench) -> None:
    """Every answer says what the slow way finds."""
    client = Client(bench.store, bench.settings)
    with reading(bench.store) as connection:
        lacking, unread = truth.lacking(connection), truth.unread(connection)
        offered = [f"{row.source}-{row.version_release}" for row in connection.execute(
            select(models.Change.__table__).where(models.Change.withdrawn_at.is_(None)))]
    images = {one["image"]: one for one in client.items("images")}
    missing = {key: {one["nvr"] for one in found["missing"]} for key, found in images.items()}
    assert {key: found for key, found in missing.items() if found} == lacking
    green = {key for key, found in images.items() if found["state"] == "current"}
    assert green.isdisjoint(lacking.keys() | unread)
    for key in images:
        assert (">current<" in client.http.get(f"/badges/{key}.svg").text) == (key in green)
        assert client.reads(f"images/{key}")["state"] == images[key]["state"]
    counted = re.search(r'rebuilder_images\{state="current"\} (\S+)', client.http.get("/metrics").text)
    assert counted is not None and float(counted[1]) == len(green)
    assert {one["image"] for one in client.items("images?state=current")} == green
    assert client.reads("status")["images"]["current"] == len(green)
    for nvr in offered:
        coverage = client.reads(f"coverage/{nvr}")
        if unread or any(nvr in missing for missing in lacking.values()):
            assert coverage["percent"] != 100 and not coverage["everywhere"]
            page = client.http.get(f"/updates/{nvr}").text
            assert "100.0%" not in page and "100%" not in page
