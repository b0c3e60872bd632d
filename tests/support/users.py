"""Whoever types commands, with a folder, a configuration and an inventory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support import shell
from support.buildah_world import until

ROOT = Path(__file__).parents[2]
INVENTORY = """\
version: 1
streams: {f41: {dist: .fc41}, f42: {dist: .fc42}}
images:
  - name: base
    stream: f42
    duration: 240
    rpms: [&old {nevra: "openssl-libs-1:3.2.1-1.fc42.x86_64", source: openssl}]
  - {name: httpd, stream: f42, parents: [base], duration: 480, rpms: [*old]}
  - {name: app, stream: f42, parents: [httpd], duration: 240, rpms: []}
  - {name: old, stream: f41, rpms: [{nevra: "openssl-libs-1:3.1.0-1.fc41.x86_64", source: openssl}]}
  - {name: new, stream: f42, rpms: [{nevra: "openssl-libs-1:3.2.2-1.fc42.x86_64", source: openssl}]}
"""
CONFIG = """\
[consumer_config]
builder = "simulated"
settle_seconds = 0
poll_seconds = 0.01
{more}
[consumer_config.inventory]
path = "{folder}/inventory.yaml"
[consumer_config.simulated]
speed = 100000
{simulated}
"""
PLAN = ("plan", "--update", "openssl-3.2.2-1.fc42")


class User:
    """Somebody with a folder, a configuration and an inventory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}
        (folder / "inventory.yaml").write_text(INVENTORY)
        self.configure()

    def configure(self, more: str = "", simulated: str = "") -> None:
        text = CONFIG.format(folder=self.folder, more=more, simulated=simulated)
        (self.folder / "config.toml").write_text(text)

    def command(self, *arguments: str) -> list[str]:
        return shell.argv("--config", str(self.folder / "config.toml"), *arguments)

    def types(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return shell.types(
            "--config", str(self.folder / "config.toml"), *arguments, environment=self.environment, stdin=stdin
        )

    def reads(self, *arguments: str, status: int = 0) -> Any:
        """The JSON answer."""
        done = self.types(*arguments, "--json")
        assert (done.returncode, done.stderr) == (status, "")
        return json.loads(done.stdout)

    def is_refused(self, *arguments: str, status: int = 2, stdin: str = "") -> str:
        """The one line on standard error."""
        done = self.types(*arguments, stdin=stdin)
        assert "Traceback" not in done.stderr
        (line,) = done.stderr.splitlines()
        assert (done.returncode, done.stdout) == (status, ""), line
        return line


@pytest.fixture
def user(tmp_path: Path) -> User:
    return User(tmp_path)


def update(ident: str = "m1") -> str:
    body = {
        "update": {
            "alias": "FEDORA-1", "builds": [{"nvr": "openssl-3.2.2-1.fc42", "epoch": 0}], "status": "stable",
            "request": None, "release": {"name": "F42"}, "user": {"name": "kasal"}, "severity": "high",
        }
    }  # fmt: skip
    topic = "org.fedoraproject.prod.bodhi.update.complete.stable"
    return json.dumps({"id": ident, "topic": topic, "headers": {}, "body": body, "queue": "q"}) + "\n"


@contextmanager
def engine_of(user: User) -> Iterator[subprocess.Popen[bytes]]:
    """An engine that runs, once one says so by having read the inventory. A test may kill it."""
    quiet = subprocess.DEVNULL
    running = subprocess.Popen(user.command("engine"), cwd=ROOT, env=user.environment, stdout=quiet, stderr=quiet)
    try:
        until(lambda: user.reads("inventory", "list") or running.poll() is not None)
        assert running.poll() is None
        yield running
    finally:
        running.terminate()
        assert running.wait(30) in (0, -signal.SIGKILL)
