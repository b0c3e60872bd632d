"""The engine as processes, killed and started again, with real builds."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import bus, databases, shell
from support.buildah_world import CONFIGURATION, Machine, machine, until

from rebuilder.demo import rpms
from rebuilder.demo.broker import Broker
from rebuilder.demo.process import Child

BUS = """amqp_url = "{url}"
callback = "consumers:Inbox"

[tls]
ca_cert = ""
keyfile = ""
certfile = ""

[qos]
prefetch_size = 0
prefetch_count = 1

[queues.engine-test]
durable = true
auto_delete = false
exclusive = false
arguments = {{}}

[[bindings]]
queue = "engine-test"
exchange = "amq.topic"
routing_keys = ["#.bodhi.update.complete.stable"]

"""
WEB = """[consumer_config.web]
port = 0
"""


@pytest.fixture
def world(tmp_path: Path, first_world: Machine) -> Iterator[Machine]:
    """Two images, both with the old openssl; the new one is in the repository."""
    with machine(tmp_path, first_world) as made:
        made.write("base", "FROM scratch\nCOPY rootfs/ /\nRUN install-rpm openssl-libs\nRUN sleep 1\n")
        configure(made, "amqp://localhost")
        databases.sqlite(made.folder / "rebuilder.db").dispose()
        yield made


def configure(made: Machine, url: str) -> None:
    (made.folder / "config.toml").write_text((BUS + CONFIGURATION + WEB).format(folder=made.folder, url=url))


def command(made: Machine, *arguments: str) -> list[str]:
    return shell.argv("--config", str(made.folder / "config.toml"), *arguments)


def types(made: Machine, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return shell.types("--config", str(made.folder / "config.toml"), *arguments, stdin=stdin)


def asked(made: Machine, *arguments: str) -> Any:
    done = types(made, *arguments, "--json")
    return json.loads(done.stdout) if done.stdout else None


def states(made: Machine) -> dict[str, str]:
    wave = asked(made, "wave", "1")
    return {rebuild["image"]: rebuild["state"] for rebuild in wave["rebuilds"]} if wave else {}


def rebuilt(made: Machine) -> list[str]:
    """The builds that the builder was given, without the first ones."""
    return sorted(path.name.split("-f42-")[0] for path in (made.folder / "builds").iterdir() if "-f42-" in path.name)


def feed(made: Machine) -> None:
    sent = bus.update()
    line = json.dumps({"id": sent.id, "topic": sent.topic, "headers": {}, "body": sent.body})
    done = types(made, "replay", "-", stdin=line)
    assert done.stdout == "1 accepted, 0 duplicate, 0 ignored, 0 rejected\n", done.stderr


def test_an_engine_killed_while_it_builds_adopts_the_build_and_goes_on(world: Machine) -> None:
    types(world, "inventory", "sync").check_returncode()
    feed(world)
    engine = subprocess.Popen(command(world, "engine"), stderr=subprocess.DEVNULL)
    until(lambda: states(world).get("base:f42") == "building")
    os.kill(engine.pid, signal.SIGKILL)
    engine.wait()
    assert subprocess.run(command(world, "run", "--until-idle"), capture_output=True, check=False).returncode == 0
    assert states(world) == {"base:f42": "succeeded", "child:f42": "succeeded"}
    assert rebuilt(world) == ["base", "child"]
    for name in ("base", "child"):
        rpms = {rpm.nevra for rpm in world.storage.manifest(f"localhost/{name}:f42").rpms}
        assert rpms == {"openssl-libs-1:3.2.2-1.fc42.noarch"}


def test_run_takes_a_message_from_the_bus_to_rebuilt_images_and_ends_when_asked(
    world: Machine, broker: Broker
) -> None:
    configure(world, broker.amqp_url)
    child = Child(command(world, "run"), world.folder / "run.log")
    try:
        with bus.channel(broker) as opened:
            opened.queue_declare("engine-test", durable=True)
            until(lambda: opened.queue_declare("engine-test", passive=True).method.consumer_count)
            bus.publish(opened, bus.update())
            until(lambda: states(world) == {"base:f42": "succeeded", "child:f42": "succeeded"})
    finally:
        child.stop()
    assert "Traceback" not in child.log.read_text()


def test_one_broken_file_stops_nothing_and_is_named_until_it_is_mended(world: Machine) -> None:
    configure(world, "amqp://127.0.0.1:1")
    assert types(world, "inventory", "sync").returncode == 0
    file = world.folder / "images" / "child" / "Containerfile"
    good = file.read_text()
    file.write_text(good + "\nnonsense three\n")
    new = world.folder / "images" / "late"
    new.mkdir()
    (new / "Containerfile").write_text("FROM base\n")
    synced = types(world, "inventory", "sync")
    assert synced.returncode == 1
    assert "1 added, 0 changed, 0 removed" in synced.stdout
    assert "child/Containerfile:" in synced.stderr and "unknown instruction nonsense" in synced.stderr
    assert "1 images cannot be read" in synced.stderr
    assert set(asked(world, "inventory", "list")[0]) >= {"image"}
    assert {entry["image"] for entry in asked(world, "inventory", "list")} >= {"base:f42", "child:f42", "late:f42"}
    child = Child(command(world, "engine"), world.folder / "engine.log")
    try:
        (problem,) = until(lambda: (asked(world, "status") or {}).get("problems"))
        assert problem["what"] == "images" and "child/Containerfile:" in problem["reason"]
    finally:
        child.stop()
    file.write_text(good)
    mended = types(world, "inventory", "sync")
    assert (mended.returncode, mended.stderr) == (0, "")


def test_without_a_broker_run_says_so_and_goes_on(world: Machine) -> None:
    configure(world, "amqp://127.0.0.1:1")
    child = Child(command(world, "run"), world.folder / "run.log")
    try:
        until(lambda: "the broker at 127.0.0.1:1 cannot be reached" in child.log.read_text())
        feed(world)
        until(lambda: states(world).get("child:f42") == "succeeded")
    finally:
        child.stop()
    assert "Traceback" not in child.log.read_text()


HANGS_AT_TAG = """#!/bin/sh
case " $* " in *" tag "*) touch {told}; sleep 60;; esac
exec {buildah} "$@"
"""


def named(made: Machine) -> dict[str, set[str]]:
    """What is in the image that each name leads to."""
    return {
        name: {rpm.nevra for rpm in made.storage.manifest(f"localhost/{name}:f42").rpms} for name in ("base", "child")
    }


def test_an_engine_killed_between_the_proof_and_the_name_moves_the_name_when_it_is_back(world: Machine) -> None:
    subprocess.run(command(world, "inventory", "sync"), check=True, capture_output=True)
    before = named(world)
    tools, told = world.folder / "tools", world.folder / "tags"
    tools.mkdir()
    buildah = tools / "buildah"
    buildah.write_text(HANGS_AT_TAG.format(told=told, buildah=shutil.which("buildah")))
    buildah.chmod(0o755)
    feed(world)
    path = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    engine = subprocess.Popen(command(world, "engine"), stderr=subprocess.DEVNULL, env=path, start_new_session=True)
    try:
        until(lambda: told.exists() and states(world) == {"base:f42": "succeeded", "child:f42": "succeeded"})
        assert named(world) == before
    finally:
        os.killpg(engine.pid, signal.SIGKILL)
        engine.wait()
    subprocess.run(command(world, "inventory", "sync"), check=True, capture_output=True)
    assert subprocess.run(command(world, "run", "--until-idle"), capture_output=True, check=False).returncode == 0
    fixed = {"openssl-libs-1:3.2.2-1.fc42.noarch"}
    assert named(world) == {"base": fixed, "child": fixed}
    assert rebuilt(world) == ["base", "child"]


def test_a_build_that_lacks_the_update_takes_no_name_and_nothing_is_built_on_it(world: Machine) -> None:
    subprocess.run(command(world, "inventory", "sync"), check=True, capture_output=True)
    before = world.storage.ids()
    for newer in world.repository.glob("*3.2.2*"):
        newer.unlink()
    rpms.index(world.repository)
    feed(world)
    assert subprocess.run(command(world, "run", "--until-idle"), capture_output=True, check=False).returncode == 1
    assert states(world) == {"base:f42": "failed", "child:f42": "blocked"}
    assert "not-updated" in asked(world, "wave", "1")["rebuilds"][0]["reason"]
    names = {name: ident for name, ident in world.storage.ids().items() if "/rebuilder/" not in name}
    assert names == {name: ident for name, ident in before.items() if "/rebuilder/" not in name}
    assert asked(world, "inventory", "show", "base:f42")["build"] == before["localhost/base:f42"]
    world.offer("3.2.2")
    subprocess.run(command(world, "retry", "base:f42"), check=True, capture_output=True)
    assert subprocess.run(command(world, "run", "--until-idle"), capture_output=True, check=False).returncode == 0
    fixed = {"openssl-libs-1:3.2.2-1.fc42.noarch"}
    assert named(world) == {"base": fixed, "child": fixed}
    assert world.storage.inspect("localhost/child:f42").parents == (world.storage.ids()["localhost/base:f42"],)
