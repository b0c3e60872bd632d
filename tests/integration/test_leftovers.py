"""What builds leave on this machine goes when it is old and of no use."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Collection, Sequence
from pathlib import Path

import pytest
from support import servers
from support.buildah_world import Machine, machine

from rebuilder.builders.leftovers import InUse
from rebuilder.builders.plugin import plugin_of
from rebuilder.config import BuildahSettings, OsbsSettings, Settings
from rebuilder.inventory.buildah_cli import Storage, StorageError

NOW = 2_000_000_000.0
OLD = NOW - 100 * 86400


def in_use(*names: str) -> InUse:
    def known(asked: Sequence[str]) -> Collection[str]:
        return set(asked) & set(names)

    return InUse(known, known)


def folder(state: Path, key: str, at: float, *, ours: bool = True) -> Path:
    made = state / key
    made.mkdir(parents=True)
    (made / ("request.json" if ours else "other")).write_text("{}")
    (made / "lock").touch()
    os.utime(made, (at, at))
    return made


@pytest.fixture
def no_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Storage, "nameless", lambda self: [])
    monkeypatch.setattr(Storage, "images", lambda self: [])


@pytest.mark.usefixtures("no_images")
def test_folders_go_that_are_old_and_of_no_rebuild(tmp_path: Path) -> None:
    settings = Settings(builder="buildah", buildah=BuildahSettings(state=tmp_path))
    for key, at in (("gone", OLD), ("kept", OLD), ("young", NOW), ("alive", OLD)):
        folder(tmp_path, key, at)
    folder(tmp_path, "foreign", OLD, ours=False)
    with (tmp_path / "alive" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for rehearsing in (True, False):
            told = plugin_of(settings).clear(settings, NOW - 90 * 86400, in_use("kept"), rehearsing=rehearsing)
            assert told == {"build folders": 1, "images": 0}
            assert (tmp_path / "gone").exists() is rehearsing
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alive", "foreign", "kept", "young"]


def test_logs_go_that_are_old_and_of_no_rebuild(tmp_path: Path) -> None:
    settings = Settings(builder="osbs", osbs=OsbsSettings(logs=tmp_path))
    for name, at in (("gone", OLD), ("kept", OLD), ("young", NOW)):
        (tmp_path / f"{name}.log").touch()
        os.utime(tmp_path / f"{name}.log", (at, at))
    assert plugin_of(settings).clear(settings, NOW - 90 * 86400, in_use("kept"), rehearsing=False) == {"build logs": 1}
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["kept", "young"]


def test_a_dry_run_s_builder_leaves_nothing() -> None:
    rehearsed = Settings(builder="buildah", dry_run=True)
    assert plugin_of(rehearsed).clear(rehearsed, NOW, in_use(), rehearsing=False) == {}


@pytest.fixture
def world(tmp_path: Path) -> Machine:
    servers.need("buildah", "buildah", "busybox")
    servers.need("rpm", "rpm", "rpmbuild", "createrepo_c")
    with machine(tmp_path) as made:
        return made


def test_images_go_that_are_old_and_of_no_build(world: Machine) -> None:
    builds = []
    for number in range(3):
        world.write("base", f"FROM scratch\nCOPY rootfs/ /\nRUN echo {number} > /number\n")
        builds.append(world.build("base", f"base-{number}"))
    first, second, current = (build.ident for build in builds)
    settings = Settings(builder="buildah", buildah=world.settings)
    assert plugin_of(settings).clear(settings, 0.0, in_use(), rehearsing=False) == {"build folders": 0, "images": 0}
    for rehearsing in (True, False):
        told = plugin_of(settings).clear(settings, NOW * 2, in_use(second, "base-2"), rehearsing=rehearsing)
        assert told == {"build folders": 2, "images": 1}
    with pytest.raises(StorageError):
        world.storage.inspect(first)
    assert world.storage.inspect(second).key == "base-1"
    assert world.storage.inspect(current).key == "base-2"
