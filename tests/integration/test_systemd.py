"""The units are ones that systemd accepts without a word."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "systemd"
UNITS = sorted(FOLDER.glob("*.service"))


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A copy of the folder whose units start a program that is on this machine too."""
    copy = tmp_path / "units"
    shutil.copytree(FOLDER, copy)
    program = shutil.which("true") or "/bin/true"
    for path in (*copy.glob("*.service"), *copy.glob("*.service.d/*.conf")):
        text = path.read_text(encoding="utf-8")
        path.write_text(re.sub(r"^(Exec\w+=)\S+", rf"\g<1>{program}", text, flags=re.MULTILINE), encoding="utf-8")
    return copy


def verify(unit: Path) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(unit)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_there_are_four_units_and_a_timer() -> None:
    assert [unit.stem for unit in UNITS] == [
        "rebuilder-consumer", "rebuilder-engine", "rebuilder-prune", "rebuilder-web",
    ]  # fmt: skip
    assert [timer.stem for timer in FOLDER.glob("*.timer")] == ["rebuilder-prune"]


def test_systemd_accepts_the_timer(installed: Path) -> None:
    result = verify(installed / "rebuilder-prune.timer")
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_accepts_the_unit_with_its_drop_ins(unit: Path, installed: Path) -> None:
    result = verify(installed / unit.name)
    assert (result.returncode, result.stderr) == (0, "")


def test_systemd_accepts_the_engine_without_the_drop_in_for_buildah(installed: Path) -> None:
    shutil.rmtree(installed / "rebuilder-engine.service.d")
    result = verify(installed / "rebuilder-engine.service")
    assert (result.returncode, result.stderr) == (0, "")


def test_a_wrong_unit_is_noticed(installed: Path) -> None:
    """So that the tests above say something."""
    with (installed / "rebuilder-engine.service.d" / "buildah.conf").open("a", encoding="utf-8") as file:
        file.write("NoSuchSetting=1\n")
    assert "NoSuchSetting" in verify(installed / "rebuilder-engine.service").stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_no_unit_runs_as_root_by_itself(unit: Path) -> None:
    assert "\nUser=rebuilder\n" in unit.read_text(encoding="utf-8")


def test_the_user_is_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    command = ["systemd-sysusers", f"--root={tmp_path}", str(FOLDER / "rebuilder.sysusers")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "rebuilder:" in (tmp_path / "etc" / "passwd").read_text(encoding="utf-8")
