"""What we write is ours alone, whatever the umask of who starts us."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.bus import until

from rebuilder.builders.process import Process
from rebuilder.builders.run_log import RunLog
from rebuilder.store import database


@pytest.fixture(autouse=True)
def _open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): oct(path.stat().st_mode & 0o777) for path in folder.rglob("*")}


def test_a_build_s_folder_is_ours_and_what_the_build_makes_is_its_own(tmp_path: Path) -> None:
    process = Process(tmp_path / "state" / "builds" / "key")
    process.start(["/bin/sh", "-c", f"echo hello; touch {tmp_path}/made"], {})
    until(lambda: (tmp_path / "state/builds/key/exit").exists())
    found = modes(tmp_path / "state")
    assert {name: mode for name, mode in found.items() if not name.startswith("builds/key/")} == {
        "builds": "0o750", "builds/key": "0o750",
    }  # fmt: skip
    assert {mode for name, mode in found.items() if name.startswith("builds/key/")} == {"0o600"}
    assert oct((tmp_path / "state").stat().st_mode & 0o777) == "0o750"
    assert oct((tmp_path / "made").stat().st_mode & 0o777) == "0o666"
    assert (tmp_path / "state/builds/key/log").read_text() == "hello\n"
    assert (tmp_path / "state/builds/key/exit").read_text() == "0\n"


def test_a_run_s_log_is_ours(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "logs" / "deep" / "run.log")
    log.write("task", [[b"one"], [b"two"]])
    log.mark_whole()
    assert {mode for name, mode in modes(tmp_path).items() if "run.log" in name} == {"0o600"}
    assert (modes(tmp_path)["logs"], modes(tmp_path)["logs/deep"]) == ("0o750", "0o750")


def test_the_database_s_folders_are_ours(tmp_path: Path) -> None:
    engine = database.ready(f"sqlite:///{tmp_path}/a/b/x.db")
    engine.dispose()
    found = modes(tmp_path)
    assert (found.pop("a"), found.pop("a/b")) == ("0o750", "0o750")
    assert set(found.values()) == {"0o600"}


def test_the_group_that_a_folder_of_builds_hands_down_may_read_their_logs_and_nothing_else(tmp_path: Path) -> None:
    """The web is not root, as an engine with buildah is; the units' umask is 077."""
    os.umask(0o077)
    (tmp_path / "builds").mkdir()
    (tmp_path / "builds").chmod(0o2750)
    process = Process(tmp_path / "builds" / "key")
    process.start(["/bin/sh", "-c", "echo hello"], {})
    until(lambda: (tmp_path / "builds/key/exit").exists())
    found = modes(tmp_path / "builds")
    assert (found.pop("key"), found.pop("key/log")) == ("0o710", "0o640")
    assert set(found.values()) == {"0o600"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_makes_in_the_services_folder_is_theirs(tmp_path: Path) -> None:
    """`rebuilder init` and `db upgrade` are typed by root before a service ever ran."""
    os.chown(tmp_path, 12345, 54321)
    engine = database.ready(f"sqlite:///{tmp_path}/x.db")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE one (x)")
        assert {(path.stat().st_uid, path.stat().st_gid) for path in tmp_path.iterdir()} == {(12345, 54321)}
    engine.dispose()
