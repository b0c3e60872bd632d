"""The units are ones that systemd accepts without a word."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from rebuilder.cli import rebuilder

FOLDER = Path(__file__).resolve().parents[2] / "systemd"
UNITS = sorted(FOLDER.glob("*.service"))
OTHERS = sorted([*FOLDER.glob("*.timer"), *FOLDER.glob("*.target")])
FOR_USERS = sorted(path for path in (FOLDER / "user").iterdir())
EXPOSURE, EXPOSURE_WITH_BUILDAH = 2.0, 3.5  # of ten, as `systemd-analyze security` counts


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A copy of the folder whose units start a program that is on this machine too."""
    copy = tmp_path / "units"
    shutil.copytree(FOLDER, copy)
    program = shutil.which("true") or "/bin/true"
    for path in (*copy.rglob("*.service"), *copy.glob("*.service.d/*.conf")):
        text = path.read_text(encoding="utf-8")
        path.write_text(re.sub(r"^(Exec\w+=)\S+", rf"\g<1>{program}", text, flags=re.MULTILINE), encoding="utf-8")
    return copy


def verify(unit: Path, *manager: str) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", *manager, "verify", "--man=no", "--recursive-errors=no", str(unit)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def exposure(unit: Path) -> float:
    """How much of the system a service can reach, of ten, with the drop-ins beside the unit."""
    command = ["systemd-analyze", "--no-pager", "--offline=true", "security", str(unit)]
    told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", told)
    assert found, told
    return float(found[1])


def test_there_is_a_unit_for_each_part_and_one_target_for_all() -> None:
    assert [unit.stem for unit in UNITS] == [
        "rebuilder-consumer", "rebuilder-engine", "rebuilder-prune", "rebuilder-publisher", "rebuilder-web",
    ]  # fmt: skip
    assert [other.name for other in OTHERS] == ["rebuilder-prune.timer", "rebuilder.target"]
    wanted = re.findall(r"^Wants=(.*)$", (FOLDER / "rebuilder.target").read_text(encoding="utf-8"), re.MULTILINE)
    parts = {unit.name for unit in UNITS} - {"rebuilder-prune.service"} | {"rebuilder-prune.timer"}
    assert set(" ".join(wanted).split()) == parts


@pytest.mark.parametrize("unit", OTHERS, ids=lambda unit: unit.name)
def test_systemd_accepts_the_timer_and_the_target(unit: Path, installed: Path) -> None:
    result = verify(installed / unit.name)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("unit", FOR_USERS, ids=lambda unit: unit.name)
def test_the_manager_of_a_user_accepts_the_units_for_users(
    unit: Path, installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    result = verify(installed / "user" / unit.name, "--user")
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_service_reaches_little_of_the_system(unit: Path, installed: Path) -> None:
    for folder in installed.glob("*.service.d"):
        shutil.rmtree(folder)
    assert exposure(installed / unit.name) <= EXPOSURE


@pytest.mark.parametrize("name", ["rebuilder-engine.service", "rebuilder-prune.service"])
def test_with_buildah_it_reaches_more_but_not_all(name: str, installed: Path) -> None:
    assert EXPOSURE < exposure(installed / name) <= EXPOSURE_WITH_BUILDAH


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_every_service_gets_its_credentials_from_systemd(unit: Path) -> None:
    assert "\nLoadCredential=rebuilder:/etc/rebuilder/credentials\n" in unit.read_text(encoding="utf-8")


@pytest.mark.parametrize("unit", [*UNITS, *(path for path in FOR_USERS if path.suffix == ".service")],
                         ids=lambda unit: str(unit.relative_to(FOLDER)))  # fmt: skip
def test_what_a_unit_starts_is_a_command_that_there_is(unit: Path) -> None:
    started = re.findall(r"^ExecStart=\S+/rebuilder(.*)$", unit.read_text(encoding="utf-8"), re.MULTILINE)
    (words,) = (line.split() for line in started)
    done = CliRunner().invoke(rebuilder, [*words, "--help"])
    assert done.exit_code == 0, done.output


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


def test_the_folders_are_made_and_credentials_are_root_s_alone(tmp_path: Path) -> None:
    for name, text in (("passwd", "root:x:0:0::/:/bin/sh\nrebuilder:x:991:991::/:/bin/sh\n"),
                       ("group", "root:x:0:\nrebuilder:x:991:\n")):  # fmt: skip
        (tmp_path / "etc").mkdir(exist_ok=True)
        (tmp_path / "etc" / name).write_text(text)
    command = ["systemd-tmpfiles", f"--root={tmp_path}", "--create", str(FOLDER / "rebuilder.tmpfiles")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    made = [(tmp_path / name).stat() for name in ("etc/rebuilder", "etc/rebuilder/credentials", "var/lib/rebuilder")]
    assert [(oct(stat.st_mode & 0o777), stat.st_uid, stat.st_gid) for stat in made] == [
        ("0o750", 0, 991), ("0o700", 0, 0), ("0o750", 991, 991),
    ]  # fmt: skip
