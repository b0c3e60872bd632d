"""`python -m chaos.soak [--minutes M]`: steady work on PostgreSQL and SQLite, and what of it grows.

An engine and a web beside it get an update every two seconds, each of which rebuilds every image; what is over is
pruned every 20 s, as the timer does each night. What is level in the end stays so.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import httpx
import psutil
from msgspec import Struct, field
from sqlalchemy import text
from support import bus, servers

from chaos.world import World
from rebuilder.demo.process import free_port
from rebuilder.store.database import reading

ROOT = Path(__file__).resolve().parents[2]
UPDATE_SECONDS, ASK_SECONDS, SAMPLE_SECONDS, PRUNE_SECONDS = 2.0, 0.5, 5.0, 20.0
SLOWEST_SECONDS = 0.5
GROWTH = {"memory": 1.10, "files": 1.25, "threads": 1.25, "database": 1.25, "journal": 1.25}  # last third to second
KEPT_MINUTES = 1.5
CLIENT = httpx.Client()  # to make one takes longer than most answers
MORE = """
[consumer_config.web]
port = {port}
[consumer_config.retention]
history_days = {days}
message_days = {days}
build_days = {days}
"""


class Soaked(Struct):
    """What was measured, sample after sample."""

    kind: str
    samples: dict[str, list[float]] = field(default_factory=dict)
    answers: list[float] = field(default_factory=list)
    failed: int = 0
    builds: int = 0

    def note(self, name: str, value: float) -> None:
        self.samples.setdefault(name, []).append(value)

    def growth(self, name: str) -> float:
        """The last third by the one before it."""
        found = self.samples[name]
        third = max(1, len(found) // 3)
        return statistics.median(found[-third:]) / max(1.0, statistics.median(found[-2 * third : -third] or found[:1]))

    @property
    def faults(self) -> list[str]:
        growth = {name: self.growth(name) for name in GROWTH}
        grew = [f"{name} grew by {growth[name] - 1:.0%}" for name, most in GROWTH.items() if growth[name] > most]
        slow = [f"an answer took {max(self.answers):.2f} s"] if max(self.answers) >= SLOWEST_SECONDS else []
        return [*grew, *slow, *([f"{self.failed} requests failed"] if self.failed else [])]

    def row(self) -> str:
        def told(name: str, unit: float, form: str) -> str:
            found = self.samples[name]
            third = max(1, len(found) // 3)
            parts = (found[:third], found[third:-third] or found, found[-third:])
            return " → ".join(format(statistics.median(part) / unit, form) for part in parts)

        ordered = sorted(self.answers)
        median, late = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
        cells = (
            self.kind, str(self.builds), told("memory", 1e6, ".0f"), told("files", 1, ".0f"), told("threads", 1, ".0f"),
            told("database", 1e6, ".1f"), told("journal", 1e6, ".1f"),
            f"{median * 1000:.0f} / {late * 1000:.0f} / {ordered[-1] * 1000:.0f}",
        )  # fmt: skip
        return "| " + " | ".join(cells) + " |"


COLUMNS = ("database", "builds", "memory (MB)", "files", "threads", "database (MB)", "journal (MB)",
           "status: median / 99 % / slowest (ms)")  # fmt: skip
HEAD = "\n".join("| " + " | ".join(cells) + " |" for cells in (COLUMNS, ("---", *["--:"] * (len(COLUMNS) - 1))))


def soak(world: World, port: int, seconds: float) -> Soaked:
    """Work for so long."""
    found, end = Soaked(world.store.dialect.name), time.monotonic() + seconds
    with ExitStack() as stack:
        processes = [stack.enter_context(_process(world, verb)) for verb in ("engine", "web")]
        threads = [
            threading.Thread(target=_every, args=(UPDATE_SECONDS, world.tell, end)),
            threading.Thread(target=_every, args=(PRUNE_SECONDS, lambda: _prune(world), end)),
            threading.Thread(target=_every, args=(ASK_SECONDS, lambda: _ask(port, found), end)),
        ]
        bus.until(lambda: _answers(port), 0.5)  # the first answer loads what the others need
        for thread in threads:
            thread.start()
        watched = [psutil.Process(process.pid) for process in processes]
        time.sleep(min(30.0, seconds / 6))  # what every process takes when it begins
        while time.monotonic() < end:
            _sample(world, watched, found)
            time.sleep(SAMPLE_SECONDS)
        for thread in threads:
            thread.join()
        for process in processes:
            assert process.poll() is None, f"it ended: {world.log.read_text()[-2000:]}"
            process.terminate()
    with reading(world.store) as connection:
        ended = "SELECT count FROM tally WHERE name = 'ended' AND label = 'succeeded'"
        found.builds = int(connection.scalar(text(ended)) or 0)
    world.store.dispose()
    return found


def _process(world: World, verb: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "rebuilder", "--config", str(world.configuration), verb]
    with world.log.open("ab") as log:
        return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)


def _every(seconds: float, do: Callable[[], object], end: float) -> None:
    while time.monotonic() < end:
        do()
        time.sleep(seconds)


def _prune(world: World) -> None:
    command = [sys.executable, "-m", "rebuilder", "--config", str(world.configuration), "db", "prune"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)


def _ask(port: int, found: Soaked) -> None:
    began = time.monotonic()
    found.failed += not _answers(port)
    found.answers.append(time.monotonic() - began)


def _answers(port: int) -> bool:
    try:
        return CLIENT.get(f"http://127.0.0.1:{port}/api/v1/status", timeout=10).status_code == 200
    except httpx.HTTPError:
        return False


def _sample(world: World, watched: Sequence[psutil.Process], found: Soaked) -> None:
    found.note("memory", sum(process.memory_info().rss for process in watched))
    found.note("files", sum(process.num_fds() for process in watched))
    found.note("threads", sum(process.num_threads() for process in watched))
    if world.store.dialect.name == "sqlite":
        path = Path(str(world.store.url.database))
        sizes = path.stat().st_size, Path(f"{path}-wal").stat().st_size
    else:
        with reading(world.store) as connection:
            sizes = int(connection.scalar(text("SELECT pg_database_size(current_database())")) or 0), 0
    found.note("database", sizes[0])
    found.note("journal", sizes[1])


def main() -> int:
    parser = argparse.ArgumentParser(prog="soak")
    parser.add_argument("--minutes", type=float, default=30.0)
    minutes = parser.parse_args().minutes
    results: list[Soaked] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-", dir="/tmp")))
        url = stack.enter_context(stack.enter_context(servers.PostgreSQL()).database())
        threads = []
        for kind, address in (("sqlite", f"sqlite:///{folder}/sqlite/soak.db"), ("postgresql", url)):
            (folder / kind).mkdir()
            port, world = free_port(), World(folder / kind, address)
            with world.configuration.open("a") as file:
                file.write(MORE.format(port=port, days=KEPT_MINUTES / 1440))
            work = partial(soak, world, port, minutes * 60)
            threads.append(threading.Thread(target=lambda work=work: results.append(work())))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    print(f"{minutes:g} minutes, both at a time; first → second → last third\n\n{HEAD}")
    for found in results:
        print(found.row())
    faults = [f"{found.kind}: {fault}" for found in results for fault in found.faults]
    print("\n".join(faults) or "level")
    return int(bool(faults) or len(results) < 2)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", str(ROOT))
    sys.exit(main())
