"""The same story without system packages: simulated builds, and the message fed in directly."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

from msgspec.structs import replace
from sqlalchemy import Connection

from consumers import topics
from rebuilder.config import InventorySettings, Settings, SimulatedSettings, StreamSettings
from rebuilder.demo import message, report
from rebuilder.demo.console import Screen
from rebuilder.demo.images import BASE, BASE_NAME, CURRENT, NEW, OLD, STREAM, texts
from rebuilder.demo.report import Line, Scene
from rebuilder.domain.graph import Graph
from rebuilder.domain.image import Image, ImageBuild, Inventory, Manifest, Parent, Stream
from rebuilder.domain.message import IncomingMessage
from rebuilder.domain.rpm import Rpm
from rebuilder.engine import factory
from rebuilder.engine.loop import Loop
from rebuilder.inventory.containerfile import parents
from rebuilder.store import database, inbox, inventory, rebuilds
from rebuilder.store.database import reading
from rebuilder.store.sync import save_inventory

WITHOUT = "static"
CONTAINERFILES = {BASE_NAME: BASE, **texts(BASE_NAME)}  # no registry: the base is one of ours


def run(folder: Path, screen: Screen) -> list[Line]:
    """The whole of it, with a database in `folder`; what each image proves."""
    settings = Settings(
        database_url=f"sqlite:///{folder / 'rebuilder.db'}", builder="simulated", max_builds=2, settle_seconds=0,
        poll_seconds=0.1, inventory=InventorySettings(), simulated=SimulatedSettings(duration=1),
        streams={STREAM: StreamSettings(dist=(".fc42",), bodhi_releases=("F42",))},
    )
    engine = database.ready(settings.database)
    with engine.begin() as connection:
        save_inventory(connection, pretended(), time.time())
    screen.step(f"put {len(CONTAINERFILES)} images into the inventory")
    with reading(engine) as connection:
        graph = inventory.load(connection)
        before = builds(connection, graph)
    sent = message.update()
    inbox.receive(engine, [IncomingMessage(sent.id, sent.topic, dict(sent._headers or {}), sent.body)])
    screen.step(f"put Bodhi's message of {message.ALIAS} into the inbox")
    loop = Loop(engine, settings, factory.builder_for(engine, settings), topics.parse)
    worker = threading.Thread(target=loop.run, args=(threading.Event(),), kwargs={"until_idle": True}, daemon=True)
    worker.start()
    with screen.watching() as show:
        while worker.is_alive():
            worker.join(0.1)
            with reading(engine) as connection:
                show(rebuilds.of_wave(connection, 1))
    with reading(engine) as connection:
        entries = {entry.image: entry for entry in rebuilds.of_wave(connection, 1)}
        after = builds(connection, graph)
    engine.dispose()
    return report.judge(Scene(graph, before, after, entries))


def pretended() -> Inventory:
    """The images of the real demonstration, with the manifests that they would have."""
    names = {spec: name for name in CONTAINERFILES for spec in (name, f"{name}:{STREAM}", f"localhost/{name}:{STREAM}")}
    images, built = [], []
    for name, text in CONTAINERFILES.items():
        bases = tuple(
            Parent(base.kind, f"{names[base.spec]}:{STREAM}") for base in parents(text) if base.spec in names
        )
        image = Image(name, STREAM, bases)
        images.append(image)
        built.append(ImageBuild(image.key, f"first-{name}", Manifest.of(_rpms(name))))
    idents = {build.image: build.ident for build in built}
    pinned = [
        replace(build, parents=tuple(idents[parent.image] for parent in image.parents))
        for image, build in zip(images, built, strict=True)
    ]
    return Inventory(tuple(images), (Stream(STREAM, (".fc42",)),), tuple(pinned))


def _rpms(name: str) -> Iterator[Rpm]:
    yield Rpm.parse("tzdata-2026a-1.fc42.noarch")
    if name != WITHOUT:
        package = NEW if name == CURRENT else OLD
        evr = f"{package.epoch}:{package.version}-{package.release}"
        yield Rpm.parse(f"openssl-libs-{evr}.noarch", "openssl")


def builds(connection: Connection, graph: Graph) -> dict[str, ImageBuild]:
    """The current build of every image, with its manifest."""
    current = {image.key: inventory.manifest_of(connection, image.key) for image in graph.images}
    return {key: build for key, build in current.items() if build is not None}
