"""The engine as a process whose peers never answer: it goes on, takes commands, and ends at once when it is told to."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.buildah_world import until
from support.slowness import within

DOCUMENT = """version: 1
images:
  - {name: base, stream: f42, duration: 600, rpms: [{nevra: "openssl-libs-3.2.1-1.fc42.x86_64", source: openssl}]}
  - {name: app, stream: f42, duration: 600, parents: [base],
     rpms: [{nevra: "openssl-libs-3.2.1-1.fc42.x86_64", source: openssl}]}
"""
CONFIGURATION = """[consumer_config]
database_url = "sqlite:///{folder}/rebuilder.db"
settle_seconds = 0
{more}
[consumer_config.inventory]
source = "file"
path = "{folder}/images.yaml"
[consumer_config.streams.f42]
dist = ".fc42"
koji_target = "f42-candidate"
"""
HANGS = 'builder = "simulated"\n[consumer_config.simulated]\nhang = ["*"]'
HUB = """builder = "koji"
[consumer_config.koji]
hub = "http://127.0.0.1:{port}/kojihub"
login = "password"
user = "rebuilder"
password_file = "{folder}/password"
"""
UPDATE = {
    "alias": "FEDORA-1", "builds": [{"nvr": "openssl-3.2.2-1.fc42", "epoch": 0}], "status": "stable", "request": None,
    "release": {"name": "F42"}, "user": {"name": "kasal"}, "severity": "urgent", "type": "security",
    "content_type": "rpm",
}  # fmt: skip
LIMIT = 5.0


class Site:
    """A folder with a configuration, and the command as users call it there."""

    def __init__(self, folder: Path, more: str) -> None:
        self.folder = folder
        (folder / "images.yaml").write_text(DOCUMENT)
        (folder / "password").write_text("secret")
        (folder / "config.toml").write_text(CONFIGURATION.format(folder=folder, more=more))

    def run(self, *words: str, text: str = "") -> str:
        done = subprocess.run(self._command(*words), input=text, text=True, capture_output=True, check=False)
        assert done.returncode in (0, 1), done.stderr
        return done.stdout

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "rebuilder", "--config", str(self.folder / "config.toml"), *words]

    def tell(self) -> None:
        topic = "org.fedoraproject.prod.bodhi.update.complete.stable"
        self.run("replay", "-", text=json.dumps({"id": "1", "topic": topic, "headers": {}, "body": {"update": UPDATE}}))

    def status(self) -> Any:
        return json.loads(self.run("status", "--json"))

    def state(self, image: str) -> str:
        found = json.loads(self.run("wave", "1", "--json"))["rebuilds"]
        return str(next(entry["state"] for entry in found if entry["image"] == image))

    @contextmanager
    def engine(self) -> Iterator[subprocess.Popen[bytes]]:
        """The engine; systemd is told what it says of itself."""
        address = str(self.folder / "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd, (self.folder / "log").open("wb") as log:
            systemd.bind(address)
            systemd.settimeout(30)
            environment = {**os.environ, "NOTIFY_SOCKET": address}
            child = subprocess.Popen(self._command("engine"), stderr=log, env=environment)
            try:
                assert systemd.recv(100) == b"READY=1"
                yield child
            finally:
                child.kill()
                child.wait()
                Path(address).unlink()


@contextmanager
def deaf() -> Iterator[int]:
    """A server that takes every connection and never says a word; its port."""
    taken: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def take() -> None:
            while True:
                try:
                    taken.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=take, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    for connection in taken:
        connection.close()


@pytest.fixture(params=["simulated", "koji"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    if request.param == "simulated":
        yield Site(tmp_path, HANGS)
        return
    with deaf() as port:
        yield Site(tmp_path, HUB.format(port=port, folder=tmp_path))


def ended(child: subprocess.Popen[bytes], number: signal.Signals) -> float:
    """Seconds until the process has ended after a signal."""
    began = time.monotonic()
    child.send_signal(number)
    child.wait(60)
    return time.monotonic() - began


def test_commands_are_taken_and_the_end_comes_at_once_while_no_peer_answers(site: Site) -> None:
    site.run("inventory", "sync")
    with site.engine() as child:
        site.tell()
        time.sleep(2)
        assert child.poll() is None
        began = time.monotonic()
        site.run("pause")
        assert time.monotonic() - began < within(LIMIT)
        assert until(lambda: site.status()["calls"]), "it is said what the engine waits for"
        assert ended(child, signal.SIGTERM) < within(LIMIT)
        assert child.returncode == 0
    assert "Traceback" not in (site.folder / "log").read_text()


def test_what_is_canceled_is_canceled_though_the_builder_says_nothing(tmp_path: Path) -> None:
    site = Site(tmp_path, HANGS)
    site.run("inventory", "sync")
    with site.engine() as child:
        site.tell()
        until(lambda: "wave" in site.run("status") and site.state("base:f42") == "submitting")
        site.run("cancel", "base:f42")
        until(lambda: site.state("base:f42") == "canceled")
        assert site.state("app:f42") == "blocked"
        assert ended(child, signal.SIGTERM) < within(LIMIT)


def test_the_first_inventory_is_read_beside_the_engine(tmp_path: Path) -> None:
    """READY=1 is said at once (the fixture waits for it), and what was told meanwhile is planned when all is read."""
    site = Site(tmp_path, 'builder = "simulated"')
    site.tell()
    with site.engine() as child:
        until(lambda: site.status()["waves"])
        assert until(lambda: site.state("base:f42") == "building")
        assert ended(child, signal.SIGINT) < within(LIMIT)
