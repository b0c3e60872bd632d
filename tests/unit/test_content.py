"""Whether the content of a folder has changed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rebuilder.inventory.content import LARGEST, Contents


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "image"
    files = {"Containerfile": "FROM x\n", "etc/app.conf": "a = 1\n", "etc/deep/x": "", ".git/HEAD": "1"}
    for name, text in files.items():
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(text)
    (made / "link").symlink_to("etc/app.conf")
    os.mkfifo(made / "pipe")
    return made


def digest(folder: Path) -> str:
    return Contents().digest(str(folder))


def test_a_copy_has_the_same_content_whatever_its_times_and_its_history(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy, symlinks=True, ignore=shutil.ignore_patterns("pipe"))
    os.mkfifo(copy / "pipe")
    os.utime(copy / "etc/app.conf", (0, 0))
    (copy / ".git/HEAD").write_text("2")
    assert digest(copy) == digest(folder)


@pytest.mark.parametrize("change", [
    lambda at: (at / "etc/app.conf").write_text("a = 2\n"),
    lambda at: (at / "etc/deep/x").rename(at / "etc/deep/y"),
    lambda at: (at / "etc/deep/x").chmod(0o755),
    lambda at: (at / "new").write_text(""),
    lambda at: (at / "pipe").unlink(),
    lambda at: ((at / "link").unlink(), (at / "link").symlink_to("etc")),
    lambda at: (at / "large").write_bytes(b"x" * (LARGEST + 1)),
])  # fmt: skip
def test_any_change_shows(folder: Path, change: Callable[[Path], object]) -> None:
    before = digest(folder)
    change(folder)
    assert digest(folder) != before


def test_folders_within_each_other_are_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents, read = Contents(), []
    monkeypatch.setattr(os, "listdir", lambda at, real=os.listdir: (read.append(at), real(at))[1])
    whole = contents.digest(str(folder))
    assert contents.digest(str(folder / "etc")) == digest(folder / "etc")
    assert whole == contents.digest(str(folder)) and read.count(str(folder / "etc")) == 2  # once by each of the two
