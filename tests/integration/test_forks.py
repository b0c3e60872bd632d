"""Processes of the command that the tests fork are as those that are executed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from support import bus, forks, shell

from rebuilder.demo.process import Child, family


@pytest.fixture(params=["forked", "executed"], autouse=True)
def _way(request: pytest.FixtureRequest) -> Iterator[None]:
    """What holds for the one holds for the other."""
    with forks.executed() if request.param == "executed" else nullcontext():
        yield


def started(*words: str, **options: object) -> subprocess.Popen[str]:
    found: subprocess.Popen[str] = subprocess.Popen(shell.argv(*words), text=True, **options)  # type: ignore[call-overload]
    return found


@pytest.fixture
def web(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A verb that stays until it is told to end, and has begun."""
    (tmp_path / "web.toml").write_text("[consumer_config.web]\nport = 0\n")
    log = tmp_path / "log"
    with log.open("w") as file, started("--config", str(tmp_path / "web.toml"), "web", stderr=file) as process:
        bus.until(lambda: "web: http" in log.read_text())
        yield process
        process.kill()


def test_its_streams_environment_and_status_are_its_own(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[consumer_config]\nnope = 1\n")
    with started("config", "check", stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path,
                 env={**os.environ, "REBUILDER_CONFIG": "config.toml"}) as process:  # fmt: skip
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "nope" in output + errors


def test_it_is_a_child_that_a_signal_ends(web: subprocess.Popen[str]) -> None:
    assert Path(f"/proc/{web.pid}/stat").read_text().rpartition(")")[2].split()[1] == str(os.getpid())
    web.kill()
    assert web.wait(10) == -signal.SIGKILL


def test_its_arguments_and_environment_are_seen(web: subprocess.Popen[str], tmp_path: Path) -> None:
    arguments = Path(f"/proc/{web.pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    assert list(map(os.fsdecode, arguments)) == shell.argv("--config", str(tmp_path / "web.toml"), "web")
    environment = Path(f"/proc/{web.pid}/environ").read_bytes().split(b"\0")
    assert os.fsencode(f"XDG_STATE_HOME={tmp_path}/state") in environment


def test_ctrl_c_ends_it(web: subprocess.Popen[str]) -> None:
    web.send_signal(signal.SIGINT)
    assert web.wait(10) == 0


def test_it_has_no_files_but_its_own(web: subprocess.Popen[str], tmp_path: Path) -> None:
    opened = {str(path.readlink()) for path in Path(f"/proc/{web.pid}/fd").iterdir()}
    files = {name for name in opened if name.startswith("/") and not name.startswith(("/dev/", str(tmp_path)))}
    assert files <= {str(Path(f"/proc/self/fd/{number}").readlink()) for number in range(3)}


def test_standard_input_is_read() -> None:
    done = subprocess.run(shell.argv("replay", "-"), input="{nonsense\n", text=True, capture_output=True, check=False)
    assert "<stdin>:1: rejected" in done.stderr


def test_a_child_has_a_session_and_ends_with_all_that_it_started(tmp_path: Path) -> None:
    configuration = tmp_path / "config.toml"
    configuration.write_text("[consumer_config.web]\nport = 0\n")
    child = Child(shell.argv("--config", str(configuration), "run"), tmp_path / "log")
    try:
        child.wait_for(lambda: "web: http" in (tmp_path / "log").read_text(), 60)
        members = family(child.pid)
        assert child.pid in {member.session for member in members}
        assert len({member.session for member in members}) == 2  # the web has its own
    finally:
        child.kill()
    assert not set(family(child.pid)) & members


def test_another_python_path_is_executed() -> None:
    environment = {**os.environ, "PYTHONPATH": "/nowhere", "PYTHONVERBOSE": "1"}
    done = subprocess.run([sys.executable, "-m", "rebuilder", "--version"], env=environment, capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert "import 'site'" in done.stderr


def test_the_consumer_of_fedora_messaging_is_one_of_them(tmp_path: Path) -> None:
    command = [forks.CONSUMER, "--conf", str(tmp_path / "none.toml"), "consume"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("Usage: fedora-messaging ")
    assert str(tmp_path / "none.toml") in done.stderr
