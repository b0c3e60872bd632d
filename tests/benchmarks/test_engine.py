"""What the engine itself costs: a wave of ten thousand builds that take no time, and having nothing to do."""

from __future__ import annotations

import resource
import threading
import time
from pathlib import Path

import forest
import pytest
from msgspec.structs import replace
from sqlalchemy import Column, Engine, Float, Integer, MetaData, Table, func, insert, select

from consumers.topics import parse
from rebuilder.config import Settings, SimulatedSettings
from rebuilder.domain.image import ImageBuild, Inventory
from rebuilder.domain.message import IncomingMessage
from rebuilder.engine import factory
from rebuilder.engine.loop import Loop
from rebuilder.store import database, inbox, open_rebuilds
from rebuilder.store.database import reading
from rebuilder.store.models import Transition
from rebuilder.store.sync import save_inventory

IMAGES, SLOTS, IDLE_SECONDS, PLAIN = 10_000, 100, 20.0, 5_000
UPDATE = {
    "update": {
        "alias": "FEDORA-1", "builds": [{"nvr": "openssl-3.2.2-1.fc42", "epoch": 1}], "status": "stable",
        "request": None, "release": {"name": "F42"}, "user": {"name": "kasal"}, "severity": "high",
        "type": "security", "content_type": "rpm",
    }
}  # fmt: skip


def only_openssl(count: int) -> Inventory:
    """Images that carry one package each, for builds that cost nothing."""
    whole = forest.inventory(forest.forest(count, 2))
    builds = tuple(
        replace(build, manifest=replace(build.manifest, rpms=frozenset(r for r in build.manifest.rpms if r.epoch)))
        for build in whole.builds
        if isinstance(build, ImageBuild) and build.manifest is not None
    )
    return Inventory(tuple(replace(image, estimate=0) for image in whole.images), whole.streams, builds)


def plain(engine: Engine) -> float:
    """The yardstick: durable transactions a second of one insert each, on the same database by the same library."""
    table = Table("yardstick", MetaData(), Column("id", Integer, primary_key=True), Column("at", Float))
    table.create(engine)
    row = insert(table)
    began = time.perf_counter()
    for _ in range(PLAIN):
        with engine.begin() as connection:
            connection.execute(row, {"at": began})
    took = time.perf_counter() - began
    table.drop(engine)
    return PLAIN / took


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_wave_of_ten_thousand_and_then_nothing(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path / 'bench.db'}" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    engine = database.open_database(url)
    database.upgrade(engine)
    settings = Settings(max_builds=SLOTS, settle_seconds=0, simulated=SimulatedSettings(duration=0))
    with engine.begin() as connection:
        save_inventory(connection, only_openssl(IMAGES), time.time())
    loop = Loop(engine, settings, factory.builder_for(engine, settings), parse)
    memory, yard = [], plain(engine)
    print(f"\n{kind}: {yard:.0f} plain transactions/s")
    for number in range(2):
        body = {"update": {**UPDATE["update"], "builds": [{"nvr": f"openssl-3.3.{number}-1.fc42", "epoch": 1}]}}
        inbox.receive(engine, [IncomingMessage(str(number), "org.x.bodhi.update.complete.stable", {}, body)])
        began = time.perf_counter()
        while loop.once() or loop.calls.any_out():
            loop.calls.wait(0.5)
        took = time.perf_counter() - began
        memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        with reading(engine) as connection:
            done = open_rebuilds.counts_of(connection, [number + 1])[number + 1]
            steps = connection.scalar(select(func.count()).select_from(Transition))
        rate = sum(done.values()) / took
        told = ", ".join(f"{count} {state}" for state, count in done.items())
        print(f"{kind}: wave {number + 1}, {told}, {took:.1f} s, {rate:.0f} rebuilds/s "
              f"(wanted: 200 on SQLite; {rate / yard:.2f} of the plain ones), {steps} steps recorded in all, "
              f"{memory[-1]:.0f} MB at most")
    stop = threading.Event()
    threading.Timer(IDLE_SECONDS, stop.set).start()
    began = time.process_time()
    loop.run(stop)
    print(f"idle: {(time.process_time() - began) / IDLE_SECONDS:.2%} of a core (wanted: less than 1%)")
    engine.dispose()
