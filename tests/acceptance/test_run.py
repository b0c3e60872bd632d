"""`run` is four processes, which live and end together."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from support import bus
from support.servers import processes_of
from support.users import ROOT, User

from rebuilder.demo.broker import Broker
from rebuilder.demo.process import family, free_port

PARTS = {"web": "web --beside", "publisher": "notify", "consumer": "consumers:Inbox"}


class Site:
    """A configuration of everything, and the log of what runs."""

    def __init__(self, folder: Path, broker: Broker, queue: str) -> None:
        self.folder, self.port = folder, free_port()
        self.configuration = bus.configure(folder, broker, queue, f"sqlite:///{folder / 'run.db'}")
        ours = f"[consumer_config.web]\nport = {self.port}\n[consumer_config.notify]\nenabled = true\n"
        self.configuration.write_text(self.configuration.read_text() + ours)
        self.user = User(folder)
        self.log = folder / "run.log"

    def command(self, *arguments: str) -> list[str]:
        found = self.user.command(*arguments)
        found[found.index("--config") + 1] = str(self.configuration)
        return found

    @contextmanager
    def runs(self) -> Iterator[subprocess.Popen[bytes]]:
        with self.log.open("ab") as log:
            running = subprocess.Popen(self.command("run"), cwd=ROOT, env=self.user.environment, stderr=log)
        try:
            yield running
        finally:
            if running.poll() is None:
                running.terminate()
            running.wait(60)

    @property
    def ready(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/health/ready", timeout=30).status_code == 200
        except httpx.TransportError:
            return False

    def pids(self, part: str) -> list[int]:
        """The processes of that part, whoever started them."""
        return [pid for pid in processes_of(self.folder) if PARTS[part] in command_of(pid)]


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


@pytest.fixture
def site(tmp_path: Path, broker: Broker, fresh_queue: str) -> Iterator[Site]:
    found = Site(tmp_path, broker, fresh_queue)
    yield found
    for pid in processes_of(tmp_path):
        os.kill(pid, signal.SIGKILL)


def test_all_end_with_a_parent_that_is_killed_and_there_is_one_of_each_after_a_restart(site: Site) -> None:
    with site.runs() as first:
        bus.until(lambda: site.ready and all(site.pids(part) for part in PARTS), 0.2)
        before = {part: site.pids(part) for part in PARTS}
        assert {part: len(pids) for part, pids in before.items()} == dict.fromkeys(PARTS, 1)
        assert {pid for pids in before.values() for pid in pids} < {found.pid for found in family(first.pid)}
        first.kill()
        first.wait()
    with site.runs() as second:  # at once: what was orphaned may still be ending
        bus.until(lambda: not any(Path(f"/proc/{pid}").exists() for pids in before.values() for pid in pids), 0.1, 10)
        bus.until(lambda: site.ready and all(site.pids(part) for part in PARTS), 0.2)
        assert {part: len(site.pids(part)) for part in PARTS} == dict.fromkeys(PARTS, 1)
        assert second.poll() is None
    assert second.returncode == 0
    assert processes_of(site.folder) == set()
    assert "starting it again" not in site.log.read_text(), "the new ones found their places free"


def test_the_web_ends_alone_and_comes_back(site: Site) -> None:
    with site.runs() as running:
        bus.until(lambda: site.ready, 0.2)
        (web,) = site.pids("web")
        os.kill(web, signal.SIGKILL)
        bus.until(lambda: site.ready and site.pids("web") != [web], 0.2)
        assert running.poll() is None
    assert "the web ended with status -9; starting it again" in site.log.read_text()


def test_without_a_bus_it_gets_ready_and_has_no_consumer(site: Site) -> None:
    text = site.configuration.read_text()
    site.configuration.write_text(text[text.index("[consumer_config]") :].replace("enabled = true", ""))
    with site.runs():
        bus.until(lambda: site.ready, 0.2)
        checks = httpx.get(f"http://127.0.0.1:{site.port}/health/ready").json()["checks"]
        assert {"name": "bus", "ok": True, "detail": "not configured"} in checks
        assert not site.pids("consumer")
    assert "no bus is configured (amqp_url)" in site.log.read_text()


def test_an_address_that_is_taken_ends_it_in_one_line(site: Site) -> None:
    with socket.create_server(("127.0.0.1", site.port)):
        done = subprocess.run(
            site.command("run"), cwd=ROOT, env=site.user.environment, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if "cannot listen" in line] == done.stderr.splitlines()


def test_each_part_can_be_a_service_of_its_own(site: Site) -> None:
    """As the units have them: nobody's child, with nothing at standard input."""
    verbs = ("consume", "engine --without-publisher", "notify", "web")
    running = [
        subprocess.Popen(site.command(*verb.split()), cwd=ROOT, env=site.user.environment, stdin=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL) for verb in verbs
    ]  # fmt: skip
    try:
        bus.until(lambda: site.ready, 0.2)
        assert [process.poll() for process in running] == [None] * 4
        assert [len(family(process.pid)) for process in running] == [1] * 4, "the engine starts no publisher"
    finally:
        for process in running:
            process.terminate()
        assert [process.wait(60) for process in running] == [0] * 4


def test_a_consumer_without_a_bus_says_what_to_configure(tmp_path: Path) -> None:
    user = User(tmp_path)
    done = user.types("consume")
    assert done.returncode == 2
    assert done.stderr.startswith("rebuilder: no bus is configured: set amqp_url and [queues]")
