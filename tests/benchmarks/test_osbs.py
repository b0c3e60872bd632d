"""What OSBS costs an engine where each request takes 0.3 s and each clone 2 s."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import pytest
from harnesses.osbs import HERE, OsbsHarness
from test_engine import UPDATE
from test_latency import OPENSSL, Pulse, delays

from consumers.topics import parse
from rebuilder.domain.image import Image, ImageBuild, Inventory, Parent, ParentKind, Source, Stream
from rebuilder.domain.lifecycle import State
from rebuilder.domain.message import Received
from rebuilder.engine.loop import Loop
from rebuilder.store import database, inbox, rebuilds
from rebuilder.store.database import reading
from rebuilder.store.sync import save_inventory

CALL_SECONDS, CLONE_SECONDS, BUILD_SECONDS = 0.3, 2, 20
GIT = "#!/bin/sh\n[ \"$1\" != clone ] || sleep {seconds}\nexec {git} \"$@\"\n"


@pytest.fixture
def osbs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OsbsHarness]:
    folder, git = tmp_path / "bin", shutil.which("git")
    folder.mkdir()
    (tmp_path / "osbs").mkdir()
    with HERE.world(tmp_path / "osbs") as made:
        (folder / "git").write_text(GIT.format(seconds=CLONE_SECONDS, git=git))
        (folder / "git").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        made.cluster.call_seconds = CALL_SECONDS
        yield made


@contextmanager
def building(osbs: OsbsHarness, *, good: bool, seconds: float) -> Iterator[None]:
    """The cluster ends each run after so many seconds."""
    stop = threading.Event()

    def work() -> None:
        begun: dict[str, float] = {}
        while not stop.wait(0.05):
            for name, document in list(osbs.cluster.runs.items()):
                since = begun.setdefault(name, time.monotonic())
                if "status" not in document:
                    osbs.cluster.say(name, "it begins")
                elif document["status"]["conditions"][0]["status"] == "Unknown" and time.monotonic() - since > seconds:
                    osbs.succeed(name) if good else osbs.cluster.fail(name, "nothing provides libfoo")

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def engine(osbs: OsbsHarness, folder: Path, images: Sequence[Image]) -> tuple[Loop, Pulse]:
    """An engine that has a wave of all images to do."""
    store = database.open_database(f"sqlite:///{folder / 'bench.db'}")
    database.upgrade(store)
    builds = tuple(ImageBuild(image.key, "first", OPENSSL) for image in images)
    with store.begin() as connection:
        save_inventory(connection, Inventory(tuple(images), (Stream("f42", ".fc42"),), builds), time.time())
    inbox.receive(store, [Received("1", "org.x.bodhi.update.complete.stable", {}, UPDATE)])
    osbs.settings = osbs.settings.model_copy(update={"max_builds": 60, "settle_seconds": 0.0, "poll_seconds": 1.0})
    osbs.restart()
    pulse = Pulse()
    return Loop(store, osbs.settings, osbs.builder, parse, alive=pulse), pulse


def test_children_follow_their_parents_at_once(osbs: OsbsHarness, tmp_path: Path) -> None:
    source = Source(git=str(osbs.folder / "repository"), ref="f42", commit=osbs.commit)
    parents = [Image(f"base{n}", "f42", (), source, BUILD_SECONDS) for n in range(60)]
    children = [Image(f"app{n}", "f42", (Parent(ParentKind.BASE, p.key),), source, BUILD_SECONDS)
                for n, p in enumerate(parents)]  # fmt: skip
    loop, pulse = engine(osbs, tmp_path, [*parents, *children])
    began = time.monotonic()
    with building(osbs, good=True, seconds=BUILD_SECONDS):
        loop.run(threading.Event(), until_idle=True)
    took, found = time.monotonic() - began, delays(loop.engine)
    loop.close()
    print(f"\n{osbs.name}: 60 + 60 images, builds of 20 s, clones of 2 s, calls of 0.3 s: a child was submitted "
          f"{median(found):.1f} s after its parent's end at the median, {found[-1]:.1f} s at most (wanted: 4 and 6); "
          f"{took:.0f} s in all; the loop was silent for {pulse.longest:.2f} s at most (wanted: 1)")  # fmt: skip


def test_many_failures_at_once_are_recorded_soon(osbs: OsbsHarness, tmp_path: Path) -> None:
    source = Source(git=str(osbs.folder / "repository"), ref="f42", commit=osbs.commit)
    loop, pulse = engine(osbs, tmp_path, [Image(f"bad{n}", "f42", (), source, BUILD_SECONDS) for n in range(60)])
    stop = threading.Event()
    thread = threading.Thread(target=loop.run, args=(stop,))
    thread.start()
    while len(osbs.cluster.created) < 60:
        time.sleep(0.1)
    with building(osbs, good=False, seconds=0):
        while sum("completionTime" in run.get("status", {}) for run in osbs.cluster.runs.values()) < 60:
            time.sleep(0.01)
        failed_at = time.monotonic()
        while failed(loop) < 60:
            time.sleep(0.05)
        took = time.monotonic() - failed_at
    stop.set()
    thread.join()
    loop.close()
    print(f"\n{osbs.name}: 60 runs that failed at once were recorded {took:.1f} s later (wanted: 15); the loop was "
          f"silent for {pulse.longest:.2f} s at most")


def failed(loop: Loop) -> int:
    with reading(loop.engine) as connection:
        return len(rebuilds.in_states(connection, [State.FAILED]))
