"""What a slow builder costs: how soon a child follows its parent, and how silent the loop ever is."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import forest
from msgspec import Struct, field
from msgspec.structs import replace
from sqlalchemy import Engine, select
from test_engine import UPDATE

from consumers.topics import parse
from rebuilder.builders.simulated import EVERYTHING
from rebuilder.config import Settings
from rebuilder.domain.image import Image, ImageBuild, Inventory, Manifest, Parent, ParentKind, Stream
from rebuilder.domain.message import IncomingMessage
from rebuilder.domain.rpm import Rpm
from rebuilder.domain.schedule import JobGraph, lower_bound
from rebuilder.engine import factory
from rebuilder.engine.loop import Loop, Runtime
from rebuilder.store import database, inbox
from rebuilder.store.database import reading
from rebuilder.store.models import Rebuild, RebuildEdge, Transition
from rebuilder.store.sync import save_inventory

SLOW = {"submit_seconds": 2, "call_seconds": 0.3, "result_seconds": 4}
OPENSSL = Manifest.of([Rpm.parse("openssl-libs-1:3.2.1-1.fc42.x86_64", "openssl")])


class Pulse(Struct):
    """The longest time between two passes of a loop, in seconds."""

    last: float = field(default_factory=time.monotonic)
    longest: float = 0.0

    def __call__(self) -> None:
        now = time.monotonic()
        self.longest, self.last = max(self.longest, now - self.last), now


def run(folder: Path, images: Sequence[Image], settings: Settings) -> tuple[Engine, Pulse, float]:
    """One wave of all images; the database, the loop's pulse, and how long it took."""
    engine = database.open_database(f"sqlite:///{folder / 'bench.db'}")
    database.upgrade(engine)
    builds = tuple(ImageBuild(image.key, "first", OPENSSL) for image in images)
    with engine.begin() as connection:
        save_inventory(connection, Inventory(tuple(images), (Stream("f42", (".fc42",)),), builds), time.time())
    inbox.receive(engine, [IncomingMessage("1", "org.x.bodhi.update.complete.stable", {}, UPDATE)])
    pulse = Pulse()
    loop = Loop(engine, settings, factory.builder_for(engine, settings), parse, runtime=Runtime(alive=pulse))
    began = time.monotonic()
    loop.run(threading.Event(), until_idle=True)
    took = time.monotonic() - began
    loop.close()
    return engine, pulse, took


def delays(engine: Engine) -> list[float]:
    """Seconds from each parent's end to its child's submission, which the child's own submission is part of."""
    moments = select(Transition.rebuild_id, Transition.event, Transition.at)
    with reading(engine) as connection:
        at = {(row.rebuild_id, row.event): row.at for row in connection.execute(moments)}
        edges = connection.execute(select(RebuildEdge.rebuild_id, RebuildEdge.parent_id)).all()
        assert set(connection.scalars(select(Rebuild.state))) == {"succeeded"}
    return sorted(at[child, "accepted"] - at[parent, "built"] for child, parent in edges)


def test_children_follow_their_parents_at_once(tmp_path: Path) -> None:
    parents = [Image(f"base{n}", "f42", estimate=20) for n in range(60)]
    children = [Image(f"app{n}", "f42", (Parent(ParentKind.BASE, p.key),), estimate=20) for n, p in enumerate(parents)]
    settings = Settings.model_validate({"max_builds": 60, "settle_seconds": 0, "simulated": SLOW})
    engine, pulse, took = run(tmp_path, [*parents, *children], settings)
    found = delays(engine)
    print(f"\n60 + 60 images, 60 slots, submissions of 2 s, calls of 0.3 s, results of 4 s: a child was submitted "
          f"{median(found):.1f} s after its parent's end at the median, {found[-1]:.1f} s at most (wanted: 4 and 6); "
          f"{took:.0f} s in all; the loop was silent for {pulse.longest:.2f} s at most (wanted: 1)")
    engine.dispose()


def test_a_thousand_images_take_little_more_than_they_must(tmp_path: Path) -> None:
    dice = random.Random(7)
    latency = {"submit_seconds": 2, "call_seconds": 0.3, "result_seconds": 1}
    whole = forest.inventory(forest.forest(1000, 2))
    images = [replace(image, estimate=dice.lognormvariate(3.0, 0.5)) for image in whole.images]
    settings = Settings.model_validate({"max_builds": 100, "settle_seconds": 0, "simulated": latency})
    engine, pulse, took = run(tmp_path, images, settings)
    places = {image.key: at for at, image in enumerate(images)}
    after = [tuple(places[p.image] for p in image.parents if p.image in places) for image in images]
    calls = 2 + 0.3 + 1  # a submission, a poll, a result; under a key that was just made nothing needs to be looked up
    least = lower_bound(JobGraph(after, [image.estimate + calls for image in images]), 100)
    print(f"\n1,000 images, 100 slots, latencies of 0.3 to 2 s: {took:.0f} s, {took / least:.3f} of the lower bound "
          f"(wanted: 1.05); the loop was silent for {pulse.longest:.2f} s at most")
    engine.dispose()


def test_calls_that_hang_cost_only_their_own_images(tmp_path: Path) -> None:
    names = [f"image{n}" for n in range(60)]
    for hanging in (1, 10):
        folder = tmp_path / str(hanging)
        folder.mkdir()
        engine = database.open_database(f"sqlite:///{folder / 'bench.db'}")
        database.upgrade(engine)
        images = [Image(name, "f42", estimate=5) for name in names]
        builds = tuple(ImageBuild(image.key, "first", OPENSSL) for image in images)
        with engine.begin() as connection:
            save_inventory(connection, Inventory(tuple(images), (Stream("f42", (".fc42",)),), builds), time.time())
        inbox.receive(engine, [IncomingMessage("1", "org.x.bodhi.update.complete.stable", {}, UPDATE)])
        hang = [f"{name}:f42" for name in names[:hanging]]
        settings = Settings.model_validate(
            {"max_builds": 60, "settle_seconds": 0, "simulated": {**SLOW, "result_seconds": 0.3, "hang": hang}}
        )
        pulse, stop = Pulse(), threading.Event()
        loop = Loop(engine, settings, factory.builder_for(engine, settings), parse, runtime=Runtime(alive=pulse))
        thread = threading.Thread(target=loop.run, args=(stop,))
        began = time.monotonic()
        thread.start()
        while _succeeded(engine) < 60 - hanging and time.monotonic() - began < 120:
            time.sleep(0.1)
        took = time.monotonic() - began
        stop.set()
        thread.join()
        loop.close()
        print(f"\n60 images of 5 s, calls about {hanging} of them hang: the others were done after {took:.1f} s; the "
              f"loop was silent for {pulse.longest:.2f} s at most ({EVERYTHING!r} hangs all)")
        engine.dispose()


def _succeeded(engine: Engine) -> int:
    with reading(engine) as connection:
        return len(connection.scalars(select(Rebuild.id).where(Rebuild.state == "succeeded")).all())
