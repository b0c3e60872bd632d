"""What makes a machine ready, on machines that lack something."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import servers

SCRIPT = Path(__file__).resolve().parents[2] / ".ci" / "bootstrap"
TOOLS = ("bash", "dirname", "env", "grep", "mktemp", "rm", "sort", "tail", "touch", "id")


class Machine:
    """A checkout on a machine with nearly nothing in its PATH, whose package managers write down what they do."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin, self.log = folder, folder / "bin", folder / "installed"
        (folder / ".ci").mkdir()
        shutil.copy(SCRIPT, folder / ".ci" / "bootstrap")
        (folder / "setup.cfg").touch()
        (folder / "pyproject.toml").touch()
        self.bin.mkdir()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(str(shutil.which(tool)))
        venv = folder / ".venv" / "bin"
        venv.mkdir(parents=True)
        for name in ("pip", "python"):
            self.program(venv / name, "exit 0")

    def program(self, path: Path, does: str) -> None:
        path.write_text(f"#!/bin/bash\n{does}\n")
        path.chmod(0o755)

    def manager(self, name: str, status: int = 0, says: str = "") -> None:
        self.program(self.bin / name, f"echo {name} \"$@\" >> {self.log}; echo '{says}'; exit {status}")

    def bootstrap(self, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": str(self.bin), "PYTHON": python, "HOME": str(self.folder)}
        command = [str(self.folder / ".ci" / "bootstrap"), "test"]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    @property
    def installed(self) -> str:
        return self.log.read_text()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.skipif(os.getuid() != 0, reason="packages are installed by root")
@pytest.mark.parametrize(("manager", "named"), [
    ("apt-get", ("createrepo-c", "libkrb5-dev")), ("dnf", ("createrepo_c", "krb5-devel", "rpm-build")),
])  # fmt: skip
def test_the_distribution_s_own_packages_are_installed(machine: Machine, manager: str, named: tuple[str, ...]) -> None:
    machine.manager(manager)
    done = machine.bootstrap()
    assert done.returncode == 0, done.stderr
    words = machine.installed.split()
    assert words[0] == manager
    assert {*named, "buildah", "git"} <= set(words)


@pytest.mark.skipif(os.getuid() != 0, reason="packages are installed by root")
def test_what_the_package_manager_says_is_passed_on_in_one_line_and_is_no_error(machine: Machine) -> None:
    machine.manager("dnf", status=1, says="Error: Unable to find a match: createrepo_c")
    done = machine.bootstrap()
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert line.startswith("bootstrap: dnf could not install ")
    assert line.endswith("Error: Unable to find a match: createrepo_c")


@pytest.mark.skipif(os.getuid() != 0, reason="packages are installed by root")
@pytest.mark.parametrize("manager", ["apt-get", "dnf"])
def test_one_name_that_the_distribution_does_not_have_keeps_no_other_from_being_installed(
    machine: Machine, manager: str
) -> None:
    """Both refuse all of them for one that is wrong."""
    refuses = f'[[ " $* " == *" buildah "* ]] && {{ echo "Error: no buildah"; exit 1; }}; echo "$@" >> {machine.log}'
    machine.program(machine.bin / manager, refuses)
    done = machine.bootstrap()
    assert (done.returncode, done.stderr) == (
        0, f"bootstrap: {manager} could not install buildah: Error: no buildah\n",
    )  # fmt: skip
    installed = {line.split()[-1] for line in machine.installed.splitlines()}
    assert {"skopeo", "crun", "git"} <= installed


def test_all_that_a_test_may_say_is_missing_is_installed() -> None:
    named = set(" ".join(servers.PACKAGES.values()).split())
    assert named - set(SCRIPT.read_text().split()) == set()


def test_every_part_that_a_test_needs_has_a_package() -> None:
    """Else a missing one ends with a KeyError instead of a line that says what to install."""
    tests = (path.read_text() for path in SCRIPT.parents[1].joinpath("tests").rglob("*.py"))
    named = {name for text in tests for name in re.findall(r'\bneed\("([a-z]+)"', text)}
    assert named - servers.PACKAGES.keys() == set()


def test_where_there_is_no_package_manager_what_is_missing_is_named(machine: Machine) -> None:
    done = machine.bootstrap()
    (line,) = done.stderr.splitlines()
    assert line.startswith("bootstrap: not installed (no apt-get or dnf, or not root): ")
    assert "buildah" in line


@pytest.mark.parametrize(("manager", "told"), [
    ("dnf", "dnf install git make python3"), ("", "install git make python3"),
])  # fmt: skip
def test_without_python_the_first_line_says_what_to_install(machine: Machine, manager: str, told: str) -> None:
    if manager:
        machine.manager(manager)
    done = machine.bootstrap(python="python3")
    assert (done.returncode, done.stderr) == (
        2, f"bootstrap: python3 is missing: {told} as root, or set PYTHON\n",
    )  # fmt: skip


def test_the_interpreter_s_headers_are_installed_also_where_the_environment_is_there_already(
    machine: Machine, tmp_path: Path
) -> None:
    """`make demo` makes the environment, and needs no headers: `make test` after it compiles Koji's client."""
    python = tmp_path / "python-without-headers"
    machine.program(python, f"case $2 in *get_path*) echo /nowhere;; *) exec {sys.executable} \"$@\";; esac")
    done = machine.bootstrap(python=str(python))
    assert "python3-dev" in done.stderr
