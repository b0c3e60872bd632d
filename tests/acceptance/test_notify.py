"""Notifications as an operator has them: the engine publishes, `status` tells what it could not."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fedora_messaging.message import Message
from support import bus, shell
from support.servers import processes_of
from support.users import INVENTORY

from rebuilder.demo.broker import Broker

CONFIGURATION = """amqp_url = "{url}"
topic_prefix = "{prefix}"

[consumer_config]
builder = "{builder}"
database_url = "sqlite:///{folder}/rebuilder.db"
settle_seconds = 0
poll_seconds = 0.05
{more}

[consumer_config.inventory]
path = "{folder}/inventory.yaml"

[consumer_config.simulated]
speed = 10000

[consumer_config.notify]
enabled = true
"""
IMPATIENT = """import sys
from rebuilder.cli import main, publisher
publisher.DRAIN_SECONDS = 2.0
main(sys.argv[1:])
"""
STATES = ["queued", "building", "succeeded"]


class Operator:
    def __init__(self, folder: Path, broker: Broker) -> None:
        self.folder, self.broker = folder, broker
        self.queue = f"test.{secrets.token_hex(4)}"
        (folder / "inventory.yaml").write_text(INVENTORY)
        self.configure(broker.amqp_url)
        with bus.channel(broker) as opened:
            opened.queue_declare(self.queue, durable=True)
            opened.queue_bind(self.queue, "amq.topic", f"{self.queue}.#")

    def configure(self, url: str, builder: str = "simulated", more: str = "") -> None:
        text = CONFIGURATION.format(url=url, prefix=self.queue, folder=self.folder, builder=builder, more=more)
        (self.folder / "config.toml").write_text(text)

    def command(self, *arguments: str) -> list[str]:
        return shell.argv("--config", str(self.folder / "config.toml"), *arguments)

    def types(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return shell.types("--config", str(self.folder / "config.toml"), *arguments, stdin=stdin)

    def types_impatiently(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """As `types`, but nothing that cannot be published is waited for half a minute."""
        command = [sys.executable, "-c", IMPATIENT, "--config", str(self.folder / "config.toml"), *arguments]
        return subprocess.run(command, cwd=shell.ROOT, capture_output=True, text=True, timeout=60, check=False)

    def hears(self) -> None:
        """Of an update of openssl."""
        sent = bus.update()
        line = json.dumps({"id": sent.id, "topic": sent.topic, "headers": {}, "body": sent.body})
        assert self.types("inventory", "sync").returncode == 0
        assert self.types("replay", "-", stdin=line).stdout.startswith("1 accepted")

    def reads(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.types("status", "--json").stdout)["notifications"]
        return found

    def received(self) -> list[Message]:
        return bus.taken(self.broker, self.queue)


@pytest.fixture
def operator(tmp_path: Path, broker: Broker) -> Iterator[Operator]:
    yield Operator(tmp_path, broker)
    assert not processes_of(tmp_path), "whoever is started also ends"


def test_run_until_idle_ends_when_everything_is_told(operator: Operator) -> None:
    operator.hears()
    done = operator.types("run", "--until-idle")
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    told = operator.received()
    assert [message.topic.rpartition("rebuilder.")[2] for message in told][:: len(told) - 1] == [
        "wave.planned", "wave.finished",
    ]  # fmt: skip
    for image in ("base:f42", "httpd:f42"):
        assert [message.body["state"] for message in told if message.body.get("image") == image] == STATES
    assert operator.reads() == {"waiting": 0, "set_aside": 0, "newest": []}


def test_without_a_broker_everything_is_rebuilt_and_what_is_not_told_is_kept(operator: Operator) -> None:
    operator.configure("amqp://127.0.0.1:1")
    operator.hears()
    done = operator.types_impatiently("run", "--until-idle")
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert "8 notifications are not published yet" in done.stderr
    assert operator.reads()["waiting"] == 8
    assert "8 notifications wait for the broker" in operator.types("status").stdout
    operator.configure(operator.broker.amqp_url)
    assert operator.types("run", "--until-idle").returncode == 0
    assert len(operator.received()) == 8


def test_a_dry_run_builds_and_tells_nothing(operator: Operator) -> None:
    operator.configure(operator.broker.amqp_url, builder="buildah", more="dry_run = true")
    operator.hears()
    assert operator.types("run", "--until-idle").returncode == 0
    assert (operator.received(), operator.reads()["waiting"]) == ([], 0)


def test_what_is_refused_is_in_the_status(operator: Operator) -> None:
    inventory = operator.folder / "inventory.yaml"
    inventory.write_text(inventory.read_text().replace("httpd", "h" * 240))
    operator.hears()
    assert operator.types("run", "--until-idle").returncode == 0
    assert {message.body["image"] for message in operator.received() if "image" in message.body} == {"base:f42"}
    found = operator.reads()
    assert (found["waiting"], found["set_aside"]) == (0, 5)
    assert "is too long" in found["newest"][0]["reason"]
    shown = operator.types("status").stdout
    assert "5 notifications are set aside" in shown
    assert "image.succeeded" in shown


def test_an_engine_that_is_killed_takes_its_publisher_along(operator: Operator) -> None:
    with subprocess.Popen(operator.command("engine"), stderr=subprocess.PIPE, text=True) as engine:
        bus.until(lambda: len(processes_of(operator.folder)) == 2)
        os.kill(engine.pid, signal.SIGKILL)
        bus.until(lambda: not processes_of(operator.folder))
