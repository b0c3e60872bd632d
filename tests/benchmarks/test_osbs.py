"""What OSBS costs an engine where each request takes 0.3 s and each clone 2 s."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import pytest
from sqlalchemy import Engine
from support.harnesses.osbs import HERE, OsbsHarness
from test_engine import UPDATE
from test_latency import OPENSSL, Pulse, delays

from consumers.topics import parse
from rebuilder.domain.image import Image, ImageBuild, Inventory, Parent, ParentKind, Source, Stream
from rebuilder.domain.lifecycle import State
from rebuilder.domain.message import IncomingMessage
from rebuilder.engine.loop import Loop, Runtime
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


def wave(osbs: OsbsHarness, folder: Path, images: Sequence[Image]) -> Engine:
    """A database with a wave of all images to do."""
    store = database.open_database(f"sqlite:///{folder / 'bench.db'}")
    database.upgrade(store)
    builds = tuple(ImageBuild(image.key, "first", OPENSSL) for image in images)
    with store.begin() as connection:
        save_inventory(connection, Inventory(tuple(images), (Stream("f42", ".fc42"),), builds), time.time())
    inbox.receive(store, [IncomingMessage("1", "org.x.bodhi.update.complete.stable", {}, UPDATE)])
    osbs.settings = osbs.settings.model_copy(update={"max_builds": 60, "settle_seconds": 0.0, "poll_seconds": 1.0})
    return store


@contextmanager
def working(osbs: OsbsHarness, store: Engine) -> Iterator[Callable[[], float]]:
    """An engine in a process of its own, as in life: the cluster does not take the interpreter from it.

    To call what is given ends it, and tells for how many seconds its loop was silent at the most.
    """
    store.dispose()
    fork = multiprocessing.get_context("fork")
    stop, told = fork.Event(), fork.SimpleQueue()

    def work() -> None:
        osbs.restart()
        pulse = Pulse()
        loop = Loop(store, osbs.settings, osbs.builder, parse, runtime=Runtime(alive=pulse))
        ended = threading.Event()
        threading.Thread(target=lambda: stop.wait() and ended.set(), daemon=True).start()
        loop.run(ended)
        told.put(pulse.longest)
        os._exit(0)

    process = fork.Process(target=work)
    process.start()

    def end() -> float:
        stop.set()
        return float(told.get())

    try:
        yield end
    finally:
        process.kill()
        process.join()


def until(store: Engine, state: State, count: int) -> float:
    """Seconds until so many rebuilds are in that state."""
    began = time.monotonic()
    while True:
        with reading(store) as connection:
            if len(rebuilds.in_states(connection, [state])) >= count:
                return time.monotonic() - began
        time.sleep(0.05)


def test_children_follow_their_parents_at_once(osbs: OsbsHarness, tmp_path: Path) -> None:
    source = Source(git=str(osbs.folder / "repository"), ref="f42", commit=osbs.commit)
    parents = [Image(f"base{n}", "f42", (), source, BUILD_SECONDS) for n in range(60)]
    children = [Image(f"app{n}", "f42", (Parent(ParentKind.BASE, p.key),), source, BUILD_SECONDS)
                for n, p in enumerate(parents)]  # fmt: skip
    store = wave(osbs, tmp_path, [*parents, *children])
    with building(osbs, good=True, seconds=BUILD_SECONDS), working(osbs, store) as end:
        took, silent = until(store, State.SUCCEEDED, 120), end()
    found = delays(store)
    print(f"\n{osbs.name}: 60 + 60 images, builds of 20 s, clones of 2 s, calls of 0.3 s: a child was submitted "
          f"{median(found):.1f} s after its parent's end at the median, {found[-1]:.1f} s at most (wanted: 4 and 6); "
          f"{took:.0f} s in all; the loop was silent for {silent:.2f} s at most (wanted: 1)")  # fmt: skip


def test_many_failures_at_once_are_recorded_soon(osbs: OsbsHarness, tmp_path: Path) -> None:
    source = Source(git=str(osbs.folder / "repository"), ref="f42", commit=osbs.commit)
    store = wave(osbs, tmp_path, [Image(f"bad{n}", "f42", (), source, BUILD_SECONDS) for n in range(60)])
    with working(osbs, store) as end:
        while len(osbs.cluster.created) < 60:
            time.sleep(0.1)
        with building(osbs, good=False, seconds=0):
            while sum("completionTime" in run.get("status", {}) for run in list(osbs.cluster.runs.values())) < 60:
                time.sleep(0.01)
            took, silent = until(store, State.FAILED, 60), end()
    print(f"\n{osbs.name}: 60 runs that failed at once were recorded {took:.1f} s later (wanted: 15); the loop was "
          f"silent for {silent:.2f} s at most (wanted: 1)")
