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
    process.start(["/bin/sh", "-c", f"echo hello; touch {tmp_path}/made"], {}, dict(os.environ))
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
