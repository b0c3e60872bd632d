"""`doctor` on installations that lack something: each fault is named, with what mends it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support import bus
from support.buildah_world import until
from support.users import User

from rebuilder.demo.broker import Broker


@pytest.fixture
def user(tmp_path: Path) -> User:
    return User(tmp_path)


def wrong(user: User) -> dict[str, str]:
    """What needs mending, and how."""
    done = user.types("doctor", "--json")
    found: list[dict[str, Any]] = json.loads(done.stdout)
    assert done.returncode == int(any(not one["ok"] for one in found))
    return {one["about"]: one["mend"] for one in found if not one["ok"]}


@contextmanager
def running(user: User, *words: str) -> Iterator[None]:
    with subprocess.Popen(user.command(*words), env=user.environment, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


def test_step_by_step_it_leads_from_nothing_to_an_installation_that_is_well(user: User) -> None:
    assert wrong(user) == {"database": "start it, or mend database_url; `rebuilder db upgrade` makes one"}
    user.types("db", "upgrade")
    assert wrong(user) == {
        "engine": "rebuilder run, or systemctl start rebuilder-engine", "images": "rebuilder inventory sync",
    }  # fmt: skip
    user.types("inventory", "sync")
    with running(user, "engine"):
        until(lambda: not wrong(user))
        done = user.types("doctor")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].startswith("all ")


def test_it_says_each_fault_with_its_remedy_below_it(user: User) -> None:
    user.types("db", "upgrade")
    lines = user.types("doctor").stdout.splitlines()
    assert lines[lines.index("wrong: engine: does not run") + 1] == (
        "    -> rebuilder run, or systemctl start rebuilder-engine"
    )
    assert lines[-1] == "2 of 7 need mending"


def test_images_of_unknown_contents_and_failed_rebuilds_are_named(user: User) -> None:
    document = user.folder / "inventory.yaml"
    document.write_text(document.read_text() + "  - {name: first, stream: f42, parents: [base]}\n")
    user.configure(simulated='failures = ["base:f42"]')
    user.types("inventory", "sync")
    user.types("rebuild", "base:f42")
    user.types("run", "--until-idle")
    found = wrong(user)
    assert found["images"] == "rebuilder rebuild --unknown"
    assert found["rebuilds"] == "rebuilder log base:f42 says why; then rebuilder retry base:f42"


def test_a_configuration_that_is_wrong_ends_the_look(user: User) -> None:
    user.configure(simulated="nonsense = 1")
    assert list(wrong(user)) == ["configuration"]


def test_a_queue_that_nobody_reads_and_a_broker_that_is_away_are_told(
    tmp_path: Path, broker: Broker, fresh_queue: str, user: User
) -> None:
    file = bus.configure(tmp_path, broker, fresh_queue, f"sqlite:///{tmp_path / 'run.db'}")

    def verdict() -> str:
        command = user.command("doctor", "--json")
        command[command.index("--config") + 1] = str(file)
        done = subprocess.run(command, env=user.environment, capture_output=True, text=True, check=False)
        (found,) = (one for one in json.loads(done.stdout) if one["about"] == "broker")
        return f"{found['detail']}: {found['mend']}"

    assert verdict() == f"no consumer reads {fresh_queue}, where 0 messages wait: " \
                        "rebuilder run, or systemctl start rebuilder-consumer"
    file.write_text(file.read_text().replace(f":{broker.port}", ":1"))
    assert verdict().endswith(": start it, or mend amqp_url and [tls]")
