"""The demonstration with real parts: RPMs, images, RabbitMQ, consumer and engine as processes of their own."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pika
from fedora_messaging import api, config
from sqlalchemy import Engine

from rebuilder.demo import images, message, report
from rebuilder.demo.broker import Broker
from rebuilder.demo.console import Screen
from rebuilder.demo.process import Child, Failed
from rebuilder.demo.report import Line
from rebuilder.demo.workspace import QUEUE, Site
from rebuilder.domain.lifecycle import ENDED
from rebuilder.store import database, deliveries, inventory, rebuilds
from rebuilder.store.database import reading
from rebuilder.store.rebuilds import RebuildRecord

CONSUMER_SECONDS = 60.0
WAVE_SECONDS = 300.0
EXPECTED = len(images.CONTAINERFILES) - len(images.UNAFFECTED)


def run(folder: Path, screen: Screen) -> list[Line]:
    """The whole of it, in `folder`; what each image proves. Everything started is ended. Raises Missing or Failed."""
    site = Site(folder)
    with ExitStack() as stack:
        broker = stack.enter_context(starting(screen, folder))
        prepare(site, broker, screen)
        engine = database.ready(site.settings.database)
        stack.callback(engine.dispose)
        command = [sys.executable, "-m", "rebuilder", "--config", str(site.configuration)]
        finished(Child([*command, "inventory", "sync"], folder / "sync.log", environment=environment(site)))
        before = site.read()
        for name, arguments in (("consumer", consumer_command()), ("engine", [*command, "engine"])):
            child = Child(arguments, folder / f"{name}.log", environment=environment(site))
            stack.callback(child.stop)
            screen.step(f"{name} runs as process {child.pid}")
            if name == "consumer":
                child.wait_for(lambda: listening(broker), CONSUMER_SECONDS)
        site.publish()
        screen.step(f"published {images.NEW.source}-{images.NEW.version}-{images.NEW.release} to the repository")
        send(site)
        screen.step(f"sent Bodhi's message of {message.ALIAS} to the broker")
        follow(engine, child, screen)
        with reading(engine) as connection:
            graph = inventory.load(connection)
            entries = {entry.image: entry for entry in rebuilds.of_wave(connection, 1)}
        return report.judge(graph, before, site.read(), entries)


@contextmanager
def starting(screen: Screen, folder: Path) -> Iterator[Broker]:
    """A private RabbitMQ for the time of the demonstration."""
    with Broker(folder / "rabbitmq") as broker:
        screen.step(f"RabbitMQ runs on port {broker.port}")
        yield broker


def prepare(site: Site, broker: Broker, screen: Screen) -> None:
    """Packages, configuration, and the first build of every image."""
    site.make_packages()
    screen.step(f"made {2 + len(images.OTHERS)} source packages with rpmbuild, and a repository")
    images.write(site.folder / "images")
    site.configure(broker.amqp_url, site.driver())
    with screen.progress("building the images for the first time", len(images.CONTAINERFILES)) as advance:
        site.build_all(lambda _: advance())


def environment(site: Site) -> dict[str, str]:
    """That of the children: ours, with the demonstration's configuration."""
    return {**os.environ, "FEDORA_MESSAGING_CONF": str(site.configuration), "PYTHONUNBUFFERED": "1"}


def consumer_command() -> list[str]:
    """fedora-messaging's own command with our callback, as in production."""
    beside = Path(sys.executable).with_name("fedora-messaging")
    return [str(beside) if beside.exists() else "fedora-messaging", "consume", "--callback=consumers:Inbox"]


def finished(child: Child) -> None:
    child.finish(60)


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
