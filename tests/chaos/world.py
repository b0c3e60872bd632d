"""A database with images, engines that are started and ended, and the verdict in the end."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from msgspec import Struct
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import DBAPIError

from chaos import actor
from rebuilder.domain.errors import UnreachableError
from rebuilder.domain.lifecycle import State
from rebuilder.domain.message import IncomingMessage
from rebuilder.store import database, inbox, inventory
from rebuilder.store.database import reading
from rebuilder.store.models import Rebuild

IMAGES, PATIENCE = 12, 90.0
NO_DATABASE = 3  # the exit status of a verb that cannot reach what it needs
TOPIC = "org.fedoraproject.prod.bodhi.update.complete.stable"
CONFIGURATION = """[consumer_config]
database_url = "{database}"
builder = "simulated"
settle_seconds = 0
poll_seconds = 0.05
retry_seconds = 0.2
max_builds = 4
max_attempts = 1
{more}
[consumer_config.inventory]
path = "{folder}/inventory.yaml"
[consumer_config.streams.f42]
dist = ".fc42"
bodhi_releases = ["F42"]
[consumer_config.simulated]
duration = 0.15
[consumer_config.calls]
submit_seconds = 2
find_seconds = 2
poll_seconds = 2
"""
_ALEMBIC = threading.Lock()  # its context is one of the whole process
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["chaos.actor"])


class Verdict(Struct, frozen=True):
    """What came of a fault: changes and messages that were lost, keys submitted twice, and what never ended."""

    fault: str
    database: str
    times: int
    lost: int
    twice: int
    stuck: int
    seconds: float
    note: str = ""

    @property
    def well(self) -> bool:
        return not (self.lost or self.twice or self.stuck)


class World:
    """Images in layers, each of which carries openssl; updates of openssl keep coming."""

    def __init__(self, folder: Path, url: str, more: str = "") -> None:
        self.folder, self.url = folder, url
        self.ledger, self.clock, self.log = folder / "ledger", folder / "clock", folder / "engine.log"
        self.configuration = folder / "config.toml"
        self.clock.write_bytes(struct.pack("d", 0.0))
        (folder / "inventory.yaml").write_text(_document())
        self.configuration.write_text(CONFIGURATION.format(database=url, folder=folder, more=more))
        self.store: Engine = database.open_database(url)
        with _ALEMBIC:
            database.upgrade(self.store)
        self.engines: list[BaseProcess] = []
        self.told = 1
        self._notes: list[str] = []
        self._began = time.monotonic()

    def tell(self) -> None:
        """One more update comes."""
        number = self.told + 1
        builds = [{"nvr": f"openssl-3.2.{number}-1.fc42", "epoch": 1}]
        body = {"update": {"alias": f"FEDORA-{number}", "builds": builds, "release": {"name": "F42"}}}
        inbox.receive(self.store, [IncomingMessage(str(number), TOPIC, {}, body)])
        self.told = number

    def start(self, *, short_lease: bool = True, hung_percent: int = 0) -> BaseProcess:
        """One more engine."""
        part = actor.Part(
            str(self.configuration), str(self.ledger), str(self.log), str(self.clock), short_lease, hung_percent
        )  # fmt: skip
        process = _context.Process(target=actor.act, args=(part,), daemon=True)
        process.start()
        self.engines.append(process)
        return process

    def kill(self, process: BaseProcess) -> None:
        """As a crash would."""
        process.kill()
        process.join()
        self.engines.remove(process)

    def active(self) -> BaseProcess | None:
        """The engine that holds the lease."""
        from rebuilder.store.lease import read

        with reading(self.store) as connection:
            owner = read(connection).owner
        return next((engine for engine in self.engines if f":{engine.pid}:" in owner), None)

    def set_clock(self, seconds: float) -> None:
        """Set the wall's clock of all engines ahead, or back, of the real one."""
        with self.clock.open("r+b") as file:
            file.write(struct.pack("d", seconds))

    def submitted(self) -> int:
        return len(actor.entries(self.ledger))

    def finish(self, fault: str, times: int, *, short_lease: bool = True) -> Verdict:
        """Let the engines come to rest, and judge."""
        if not self.engines:
            self.start(short_lease=short_lease)
        attempt(self.tell)
        until = time.monotonic() + PATIENCE
        while (left := _or(self._open, -1)) and time.monotonic() < until:
            self._restart_ended(short_lease)
            time.sleep(0.3)
        self._remove_ended()
        for engine in list(self.engines):
            os.kill(engine.pid or 0, signal.SIGCONT)
            self.kill(engine)
        counts = Counter(entry["key"] for entry in actor.entries(self.ledger))
        twice = sum(count - 1 for count in counts.values())
        lost = self._behind()
        if "Traceback" in self.log.read_text(errors="replace"):
            self._notes.append("a traceback in the log")
        kind = self.store.dialect.name
        self.store.dispose()
        return Verdict(
            fault, kind, times, lost, twice, max(left, 0) or (1 if left else 0), time.monotonic() - self._began,
            "; ".join(self._notes),
        )  # fmt: skip

    def _restart_ended(self, short_lease: bool) -> None:
        """Do what the unit's Restart=always does."""
        for _ in range(self._remove_ended()):
            self.start(short_lease=short_lease)

    def _remove_ended(self) -> int:
        """How many engines have ended; only a start that finds no database may."""
        ended = [engine for engine in self.engines if not engine.is_alive()]
        for engine in ended:
            if engine.exitcode != NO_DATABASE:
                self._notes.append(f"an engine ended with {engine.exitcode}")
            self.engines.remove(engine)
        return len(ended)

    def _open(self) -> int:
        """How many rebuilds, messages and changes are not dealt with."""
        ended = [State.SUCCEEDED, State.UNNEEDED, State.CANCELED]
        with reading(self.store) as connection:
            unended = select(func.count()).select_from(Rebuild).where(Rebuild.state.not_in(ended))
            left = (connection.scalar(unended) or 0) + len(inbox.unread(connection, 1000))
            return left or self._count_behind(connection)

    def _behind(self) -> int:
        with reading(self.store) as connection:
            return self._count_behind(connection)

    def _count_behind(self, connection: Any) -> int:
        """The images that do not have the last update that was told."""
        behind = 0
        for number in range(IMAGES):
            build = inventory.manifest_of(connection, f"image{number}:f42")
            versions = {rpm.version for rpm in build.manifest.rpms} if build and build.manifest else set()
            behind += versions != {f"3.2.{self.told}"}
        return behind


def attempt(do: Callable[[], Any], patience: float = 30.0) -> Any:
    """Do it as soon as the database lets us."""
    until = time.monotonic() + patience
    for _ in itertools.count():
        try:
            return do()
        except (DBAPIError, UnreachableError):
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def _or(do: Callable[[], int], otherwise: int) -> int:
    with suppress(DBAPIError):
        return do()
    return otherwise


def _document() -> str:
    lines = ["version: 1", "images:"]
    for number in range(IMAGES):
        parents = f"parents: [image{(number - 1) // 2}], " if number else ""
        rpms = 'rpms: [{nevra: "openssl-libs-1:3.2.1-1.fc42.x86_64", source: openssl}]'
        lines.append(f"  - {{name: image{number}, stream: f42, duration: 0.15, {parents}{rpms}}}")
    return "\n".join(lines) + "\n"
