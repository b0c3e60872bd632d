"""The demonstration, as a user runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import servers

DEMO = [sys.executable, "-m", "rebuilder", "demo"]


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(folder)}


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*DEMO, *arguments], env=environment(folder), capture_output=True, text=True, check=False, timeout=300
    )


@pytest.fixture
def real_parts() -> None:
    servers.need("rabbitmq", "rabbitmq-server", "epmd")
    servers.need("buildah", "buildah", "busybox", "docker-registry", "skopeo")
    servers.need("rpm", "rpm", "rpmbuild", "createrepo_c")


@pytest.mark.usefixtures("real_parts")
def test_every_affected_image_is_rebuilt_in_order_and_every_other_is_left_alone(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 of 10 images as they should be" in done.stdout
    assert list(tmp_path.iterdir()) == []
    assert servers.processes_of(tmp_path) == set()


@pytest.mark.usefixtures("real_parts")
def test_an_interrupted_demonstration_leaves_nothing_behind(tmp_path: Path) -> None:
    process = subprocess.Popen(DEMO, env=environment(tmp_path), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if "runtime:f42 building" in line:
            process.send_signal(signal.SIGINT)
            break
    assert process.wait(60) == 130
    deadline = time.monotonic() + 10
    while (left := servers.processes_of(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == set()
    assert list(tmp_path.iterdir()) == []


def test_the_simulated_demonstration_needs_no_system_package(tmp_path: Path) -> None:
    done = subprocess.run(
        [*DEMO, "--simulated"], env={"PATH": "/nonexistent", "TMPDIR": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True, text=True, check=False, timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 of 10 images as they should be" in done.stdout


def test_without_the_system_packages_the_demonstration_says_in_one_line_what_is_missing(tmp_path: Path) -> None:
    done = subprocess.run(
        DEMO, env={"PATH": "/nonexistent", "TMPDIR": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True, text=True, check=False, timeout=120,
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "not installed" in done.stderr
    assert "--simulated" in done.stderr


def test_without_its_extra_the_demonstration_says_in_one_line_how_to_get_it() -> None:
    hidden = "import sys; sys.modules['bodhi'] = None; from rebuilder.cli import main; main(['demo'])"
    done = subprocess.run([sys.executable, "-c", hidden], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("rebuilder: the demonstration needs bodhi")
    assert line.endswith("pip install 'container-rebuilder[demo]'")
