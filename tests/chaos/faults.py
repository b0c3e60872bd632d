"""The faults. Each leaves behind a world that must come to rest by itself: nothing lost, built twice, or stuck."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from integration.test_poison import POISON
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import update
from support import bus, servers

from chaos.world import TOPIC, Verdict, World, attempt
from rebuilder.demo.broker import Broker
from rebuilder.domain.message import Delivery, storable
from rebuilder.store import dead_letters, inbox
from rebuilder.store.database import reading
from rebuilder.store.models import Lease

DISK_BYTES = 6 * 1024 * 1024


class Stage(Struct, frozen=True):
    """Where faults are made: the servers, and `scale`, how much of the whole is asked for (1.0 is twenty minutes)."""

    folder: Path
    postgres: servers.PostgreSQL
    broker: Broker
    scale: float

    def times(self, whole: int) -> int:
        return max(1, round(whole * self.scale))

    @contextmanager
    def world(self, kind: str, name: str, more: str = "") -> Iterator[World]:
        folder = self.folder / f"{name}-{kind}"
        folder.mkdir()
        if kind == "sqlite":
            yield World(folder, f"sqlite:///{folder}/chaos.db", more)
            return
        with self.postgres.database() as url:
            yield World(folder, url, more)


Fault = Callable[[Stage, str], Verdict]
FAULTS: list[tuple[Fault, tuple[str, ...]]] = []
WE_ARE_ROOT = os.geteuid() == 0


def on(*kinds: str) -> Callable[[Fault], Fault]:
    """The fault is made on these kinds of databases."""

    def noted(fault: Fault) -> Fault:
        FAULTS.append((fault, kinds))
        return fault

    return noted


@on("sqlite", "postgresql")
def killed(stage: Stage, kind: str) -> Verdict:
    times = stage.times(200)
    with stage.world(kind, "killed") as world:
        for number in range(times):
            engine = world.start()
            if number % 2 == 0:
                world.tell()
            time.sleep(random.uniform(0.05, 0.9) + (1.5 if kind == "postgresql" else 0.4) * random.random())
            world.kill(engine)
        return world.finish("engine killed (SIGKILL)", times)


@on("postgresql")
def restarted(stage: Stage, kind: str) -> Verdict:
    times = stage.times(30)
    with stage.world(kind, "restarted") as world:
        for _ in range(2):
            world.start(short_lease=False)
        for number in range(times):
            attempt(world.tell)
            time.sleep(random.uniform(2, 6))
            stage.postgres.restart(signal.SIGQUIT if number % 3 == 2 else signal.SIGINT)
        return world.finish("PostgreSQL restarted under two engines", times)


@on("sqlite", "postgresql")
def robbed(stage: Stage, kind: str) -> Verdict:
    """The lease goes to somebody who does nothing with it, at any moment."""
    times = stage.times(60)
    with stage.world(kind, "robbed") as world:
        for _ in range(2):
            world.start()
        for number in range(times):
            if number % 2 == 0:
                attempt(world.tell)
            time.sleep(random.uniform(0.2, 2.0))
            with world.store.begin() as connection:
                thief = {"owner": "nobody:0:", "epoch": Lease.epoch + 1, "renewals": 0}
                connection.execute(update(Lease).where(Lease.role == "engine").values(thief))
        return world.finish("lease lost at any moment, two engines", times)


@on("sqlite", "postgresql")
def stopped(stage: Stage, kind: str) -> Verdict:
    """The active engine stands still until the other acts, then goes on."""
    times, done = stage.times(30), 0
    with stage.world(kind, "stopped") as world:
        for _ in range(2):
            world.start()
        for _ in range(times):
            attempt(world.tell)
            time.sleep(random.uniform(0.1, 0.8))
            active = attempt(world.active)
            if active is None or active.pid is None:
                continue
            os.kill(active.pid, signal.SIGSTOP)
            until = time.monotonic() + (16 if kind == "postgresql" else 4)  # stopped in a transaction, it keeps SQLite
            while time.monotonic() < until and attempt(world.active) is active:
                time.sleep(0.1)
            os.kill(active.pid, signal.SIGCONT)
            done += 1
        return world.finish("active engine stopped past its lease (SIGSTOP)", done)


@on("sqlite", "postgresql")
def poisoned(stage: Stage, kind: str) -> Verdict:
    """What nothing can be made of, between updates."""
    with stage.world(kind, "poisoned") as world:
        world.start()
        for number, (what, body) in enumerate(POISON.items()):
            if number % 5 == 0:
                world.tell()
            inbox.receive(world.store, [storable(f"poison: {what}", TOPIC, {}, body)])
        letters = [
            Delivery("a\0b", TOPIC, {}, b"{}"), Delivery("deep", TOPIC, {}, b"[" * 20000),
            Delivery("encoding", TOPIC, {}, b"{}", "klingon"), Delivery("topic", "a\0", {}, b"{}"),
        ]  # fmt: skip
        with world.store.connect() as connection:
            for letter in letters:
                inbox.take(connection, letter.read, letter)
        verdict = world.finish("poison", len(POISON) + len(letters))
        with reading(world.store) as connection:
            missing = len(letters) - dead_letters.count(connection)
        return replace(verdict, lost=verdict.lost + missing)


@on("sqlite", "postgresql")
def broker_killed(stage: Stage, kind: str) -> Verdict:
    """Messages that the broker has confirmed, through its own death and the consumer's."""
    times, sent, queue = stage.times(8), 0, f"chaos-{kind}"
    with stage.world(kind, "broker") as world:
        with bus.channel(stage.broker) as opened:
            opened.queue_declare(queue, durable=True)
        configuration = bus.configure(world.folder, stage.broker, queue, world.url)
        for number in range(times):
            with bus.consumer(configuration) as consumer:
                with bus.channel(stage.broker) as opened:
                    for _ in range(50):
                        bus.send(opened, queue, bus.update())
                        sent += 1
                if number % 2:
                    stage.broker.kill()
                    stage.broker.start()
                else:
                    consumer.kill()
        with bus.consumer(configuration), suppress(AssertionError):
            bus.until(lambda: _kept(world) >= sent, 0.2, 90)
        lost = sent - _kept(world)
        verdict = world.finish("broker, or consumer, killed", times)
        return replace(verdict, lost=verdict.lost + lost)


def _kept(world: World) -> int:
    with reading(world.store) as connection:
        return sum(inbox.counts(connection).values())


@on(*(["sqlite"] if WE_ARE_ROOT else []))
def disk_full(stage: Stage, kind: str) -> Verdict:
    """The file system has no room any more, and has some again later."""
    folder = stage.folder / f"full-{kind}"
    folder.mkdir()
    with _small_disk(folder) as room:
        world, times = World(room, f"sqlite:///{room}/chaos.db"), stage.times(10)
        engine = world.start()
        for _ in range(times):
            attempt(world.tell)
            time.sleep(random.uniform(0.0, 0.4))
            filler = room / "filler"
            _fill(filler)
            time.sleep(random.uniform(0.5, 1.5))
            filler.unlink()
            time.sleep(0.3)
        assert engine.is_alive()
        return world.finish("disk full", times)


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    """A file system of a few megabytes: it takes root to make one."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"\0" * 4096)


@on("sqlite", "postgresql")
def clock_set(stage: Stage, kind: str) -> Verdict:
    """Ten minutes back, a day ahead, and so on, while builds run and pauses are kept."""
    times = stage.times(24)
    with stage.world(kind, "clock", "time_limit = 60") as world:
        world.start()
        for number in range(times):
            world.tell()
            time.sleep(random.uniform(0.1, 0.6))
            world.set_clock([-600.0, 86400.0, 0.0][number % 3])
            time.sleep(random.uniform(0.5, 1.0))
        return world.finish("wall clock set 10 min back, a day ahead", times)


@on("sqlite", "postgresql")
def builder_hung(stage: Stage, kind: str) -> Verdict:
    """One call of ten is never answered, by an engine that is killed in the end."""
    times = stage.times(8)
    with stage.world(kind, "hung") as world:
        for _ in range(times):
            engine = world.start(hung_percent=10)
            world.tell()
            time.sleep(random.uniform(2.5, 5))
            world.kill(engine)
        return world.finish("builder hung: 1 call of 10 not answered", times)
