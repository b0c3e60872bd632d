"""The demonstration with real parts: RPMs, images, registry, RabbitMQ, consumer and engine as their own processes."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pika
from fedora_messaging import api, config
from sqlalchemy import Engine

from rebuilder.config import Settings
from rebuilder.demo import images, message, report
from rebuilder.demo.broker import Broker
from rebuilder.demo.console import Screen
from rebuilder.demo.owners import Owners
from rebuilder.demo.process import Child, Failed
from rebuilder.demo.registry import Registry, surroundings
from rebuilder.demo.report import Line, Scene
from rebuilder.demo.workspace import QUEUE, Site
from rebuilder.domain.external import at_digest, short
from rebuilder.domain.image import ImageBuild, PinnedParent
from rebuilder.domain.lifecycle import ENDED, RebuildRecord
from rebuilder.queries import why
from rebuilder.store import database, deliveries, inventory, rebuilds
from rebuilder.store.database import reading

CONSUMER_SECONDS = 60.0
WAVE_SECONDS = 300.0
WAITING = tuple(f"{name}:{images.STREAM}" for name in images.CONTAINERFILES if name not in images.UNAFFECTED)


def run(folder: Path, screen: Screen) -> list[Line]:
    """The whole of it, in `folder`; what each image proves. Everything started is ended. Raises Missing or Failed."""
    site, registry = Site(folder), Registry(folder / "registry")
    (folder / "tmp").mkdir()  # a buildah that is killed leaves what it was unpacking
    own = {"XDG_STATE_HOME": str(folder / "state"), "TMPDIR": str(folder / "tmp")}
    with ExitStack() as stack:
        stack.enter_context(surroundings({**registry.environment, **own}))
        broker = start_servers(site, registry, screen, stack)
        consumer = started("consumer", consumer_command(), site, screen, stack)
        owners = Owners(site.of_owners(site.settings.buildah.storage_driver), site.theirs / "base", spec(registry))
        old = owners.push()
        screen.step(f"the owners of {owners.spec} pushed it: {short(old.ident)}")
        build(site, owners, old, screen)
        engine = database.ready(site.settings.database)
        stack.callback(engine.dispose)
        command = [sys.executable, "-m", "rebuilder", "--config", str(site.configuration), "engine"]
        child = started("engine", command, site, screen, stack)
        before = site.read()
        site.publish()
        screen.step(f"published {images.NEW.source}-{images.NEW.version}-{images.NEW.release} to the repository")
        consumer.wait_for(lambda: listening(broker), CONSUMER_SECONDS)
        send(site)
        screen.step(f"sent Bodhi's message of {message.ALIAS} to the broker")
        child.wait_for(lambda: all_wait(engine, site.settings), WAVE_SECONDS)
        screen.step(f"{len(WAITING)} images wait for their base: {short(old.ident)} has the old RPM")
        new = owners.push()
        screen.step(f"the owners pushed {owners.spec} with the new RPM: {short(new.ident)}")
        follow(engine, child, screen)
        with reading(engine) as connection:
            graph = inventory.load(connection)
            entries = {entry.image: entry for entry in rebuilds.of_wave(connection, 1)}
        pulled = site.pull()
        screen.step(f"pulled {len(pulled)} images by their tags from {registry.host} into an empty storage")
        return report.judge(Scene(graph, before, site.read(), entries, (old, new), pulled))


def start_servers(site: Site, registry: Registry, screen: Screen, stack: ExitStack) -> Broker:
    """A private RabbitMQ and a private registry for the time of the demonstration; packages are made meanwhile."""
    with ThreadPoolExecutor(1) as beside:
        made = beside.submit(site.make_packages)
        stack.callback(registry.start().stop)
        screen.step(f"a registry that wants a login runs at {registry.host}")
        broker = stack.enter_context(Broker(site.folder / "rabbitmq"))
        screen.step(f"RabbitMQ runs on port {broker.port}")
        made.result()
    screen.step(f"made {2 + len(images.OTHERS)} source packages with rpmbuild, and a repository")
    images.write(site.folder / "images", site.theirs / "base", spec(registry).rpartition(":")[0])
    site.configure(broker.amqp_url, site.driver(), registry.host)
    return broker


def spec(registry: Registry) -> str:
    """What everybody calls the base."""
    return f"{registry.host}/distribution/{images.BASE_NAME}:{images.STREAM}"


def build(site: Site, owners: Owners, base: ImageBuild, screen: Screen) -> None:
    """The first build of each of our images."""
    pinned = PinnedParent(owners.spec, at_digest(owners.spec, base.ident))
    with screen.progress("building our images for the first time", len(images.CONTAINERFILES)) as advance:
        site.build_all(pinned, lambda _: advance())


def all_wait(engine: Engine, settings: Settings) -> bool:
    """Whether the update was looked at, and each affected image waits for the base."""
    with reading(engine) as connection:
        if not inventory.find(connection, WAITING).keys() >= set(WAITING):
            return False  # the engine has not read the inventory yet
        answers = [why.read(connection, image, settings, time.time()).not_rebuilt for image in WAITING]
    return all(verdicts and verdicts[0].verdict == "waits-for-parent" for verdicts in answers)


def started(name: str, command: Sequence[str], site: Site, screen: Screen, stack: ExitStack) -> Child:
    """A process that runs until the stack ends."""
    child = Child(command, site.folder / f"{name}.log", environment=environment(site))
    stack.callback(child.stop)
    screen.step(f"{name} runs as process {child.pid}")
    return child


def environment(site: Site) -> dict[str, str]:
    """That of the children: ours, with the demonstration's configuration."""
    return {**os.environ, "FEDORA_MESSAGING_CONF": str(site.configuration), "PYTHONUNBUFFERED": "1"}


def consumer_command() -> list[str]:
    """fedora-messaging's own command with our callback, as in production."""
    beside = Path(sys.executable).with_name("fedora-messaging")
    return [str(beside) if beside.exists() else "fedora-messaging", "consume", "--callback=consumers:Inbox"]


def listening(broker: Broker) -> bool:
    """Whether somebody consumes from our queue: what is published before that would be lost."""
    try:
        with pika.BlockingConnection(pika.URLParameters(broker.amqp_url)) as connection:
            return bool(connection.channel().queue_declare(QUEUE, passive=True).method.consumer_count)
    except pika.exceptions.AMQPError:
        return False


def send(site: Site) -> None:
    """Publish the update's message through AMQP, as Bodhi does, and wait for the broker's confirm."""
    config.conf.load_config(str(site.configuration))
    api.publish(message.update(), timeout=30)


def follow(engine: Engine, child: Child, screen: Screen) -> None:
    """Show rebuilds until all have ended and all names have moved. Raises Failed where the engine ends, or is slow."""
    deadline = time.monotonic() + WAVE_SECONDS
    with screen.watching() as show:
        while True:
            with reading(engine) as connection:
                entries: list[RebuildRecord] = rebuilds.of_wave(connection, 1)
                unnamed = deliveries.any_pending(connection)
            show(entries)
            if entries and not unnamed and all(entry.state in ENDED for entry in entries):
                return
            if not child.running:
                raise Failed(f"the engine ended; see {child.log}")
            if time.monotonic() > deadline:
                raise Failed(f"the rebuilds took more than {WAVE_SECONDS:.0f} s; see {child.log}")
            time.sleep(0.2)
