"""What plans cost: in memory, from the store, and from a document; beside a plain walk over the same graph."""

from __future__ import annotations

import gc
import graphlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import forest
import networkx as nx
import pytest
from sqlalchemy import create_engine, func, select

from rebuilder.config import Settings
from rebuilder.domain.change import Change
from rebuilder.domain.graph import Graph
from rebuilder.domain.plan import make_plan
from rebuilder.domain.rpm import SourceBuild
from rebuilder.domain.schedule import durations
from rebuilder.engine import planning
from rebuilder.store import database
from rebuilder.store.database import reading
from rebuilder.store.models import ManifestRpm

IMAGES, RPMS = 10_000, 300
ALL, TEN = "openssl-3.2.2-1.fc42", "seldom-2.0-1.fc42"
ROUNDS = 9


def seconds_of(call: Callable[[], Any], rounds: int = ROUNDS) -> float:
    """The median seconds of a call."""
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def change(nvr: str) -> Change:
    return Change(SourceBuild.parse(nvr), "f42")


class Planning:
    """Planning on a forest in a process of its own, so that its memory is its own too."""

    def __init__(self, count: int) -> None:
        layers = forest.forest(count, RPMS)
        self._count = count
        self._graph = Graph(layer.image for layer in layers)
        self._all, self._few = forest.carried(layers, forest.EVERYWHERE), forest.carried(layers, forest.SELDOM)
        self._seconds = durations(self._graph.images)
        self._before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self.all()
        self._peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        plain = self._graph.nx
        self._parents = {key: [parent for parent, _ in self._graph.parents(key)] for key in self._graph.keys}
        self._roots = [key for key in plain if not plain.in_degree(key)]
        del layers
        gc.collect()
        gc.freeze()  # the forest is not the plan's to look through

    def all(self) -> None:
        """Plan for an update of what every image carries, and go through the plan."""
        plan = make_plan(self._graph, self._all, [change(ALL)], slots=100, seconds=self._seconds)
        assert sum(1 for rebuild in plan.rebuilds if rebuild.reasons) == self._count

    def ten(self) -> None:
        plan = make_plan(self._graph, self._few, [change(TEN)], slots=100, seconds=self._seconds)
        assert len(plan.rebuilds) == forest.SELDOM_IMAGES

    def networkx(self) -> None:
        """Walk and order the same graph."""
        list(nx.topological_sort(self._graph.nx))
        set().union(*(nx.descendants(self._graph.nx, root) for root in self._roots))

    def graphlib(self) -> None:
        """Order the same graph."""
        list(graphlib.TopologicalSorter(self._parents).static_order())

    @property
    def memory(self) -> tuple[float, float]:
        """MB before the first plan, and at most while it was made."""
        return self._before / 1024, self._peak / 1024


class Apart:
    """Planning in another process; calls are measured there."""

    here: Planning

    def __init__(self, count: int) -> None:
        self._process = ProcessPoolExecutor(1, get_context("spawn"), self._begin, (count,))
        self.taken: dict[str, list[float]] = {}
        self.memory: tuple[float, float] = self._process.submit(self._memory).result()

    def measure(self, what: str) -> None:
        self.taken.setdefault(what, []).append(self._process.submit(self._seconds, what).result())

    def median(self, what: str) -> float:
        return statistics.median(self.taken[what])

    def end(self) -> None:
        self._process.shutdown()

    @classmethod
    def _begin(cls, count: int) -> None:
        cls.here = Planning(count)

    @classmethod
    def _memory(cls) -> tuple[float, float]:
        return cls.here.memory

    @classmethod
    def _seconds(cls, what: str) -> float:
        return seconds_of(getattr(cls.here, what), 1)


def growth(small: Apart, large: Apart, what: str) -> float:
    """How many times as long it takes for the large one: the median of rounds, as machines change their pace."""
    return statistics.median(b / a for a, b in zip(small.taken[what], large.taken[what], strict=True))


def test_planning_in_memory() -> None:
    sizes = {size: Apart(size) for size in (1_000, IMAGES, 10 * IMAGES)}
    for _ in range(ROUNDS):
        for what in ("all", "ten", "networkx", "graphlib"):
            for apart in sizes.values():
                apart.measure(what)
    print("\nplanning in memory; an update of what every image carries, and of what ten do")
    print("   images     all       ten   networkx  graphlib  all/networkx  memory before and at most")
    for size, row in sizes.items():
        before, peak = row.memory
        print(
            f"  {size:7d}  {row.median('all') * 1000:6.0f} ms {row.median('ten') * 1000:6.2f} ms "
            f"{row.median('networkx') * 1000:6.0f} ms {row.median('graphlib') * 1000:6.0f} ms  "
            f"{row.median('all') / row.median('networkx'):8.1f}      {before:5.0f} MB {peak:5.0f} MB"
        )
        row.end()
    few, many = sizes[IMAGES], sizes[10 * IMAGES]
    print(f"  wanted: 150 ms for {IMAGES}; 2000 ms and 1000 MB for {10 * IMAGES}")
    print(
        f"  from {IMAGES} to {10 * IMAGES}: {growth(few, many, 'all'):.1f}-fold, wanted at most 12-fold; "
        f"networkx {growth(few, many, 'networkx'):.1f}-fold, graphlib {growth(few, many, 'graphlib'):.1f}-fold"
    )


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("forest") / "inventory.json"
    forest.write(forest.forest(IMAGES, RPMS), path)
    return path


def command(folder: Path, *arguments: str) -> Callable[[], Any]:
    """The whole process, as somebody types it."""
    environment = {**os.environ, "REBUILDER_CONFIG": str(folder / "config.toml")}

    def run() -> Any:
        return subprocess.run(
            [sys.executable, "-m", "rebuilder", *arguments], env=environment, check=True, capture_output=True
        ).stdout

    return run


def configure(folder: Path, url: str, document: Path) -> None:
    inventory = f'[consumer_config.inventory]\nsource = "file"\npath = "{document}"\n'
    (folder / "config.toml").write_text(f'[consumer_config]\ndatabase_url = "{url}"\n{inventory}', encoding="utf-8")


def test_planning_on_a_document(document: Path, tmp_path: Path) -> None:
    configure(tmp_path, f"sqlite:///{tmp_path / 'none.db'}", document)
    plan = command(tmp_path, "plan", "--inventory", str(document), "--update", ALL, "--json")
    assert len(json.loads(plan())["rebuilds"]) == IMAGES
    size = document.stat().st_size / 1e6
    print(f"\nplan --inventory, {IMAGES} images, {size:.0f} MB of JSON, the whole process: {seconds_of(plan):.2f} s")
    print("  wanted: 2.00 s")


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_planning_from_the_store(
    kind: str, document: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path / 'bench.db'}" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    database.upgrade(database.open_database(url))
    configure(tmp_path, url, document)
    sync = command(tmp_path, "inventory", "sync")
    load, again = seconds_of(sync, 1), seconds_of(sync, 1)
    cold = command(tmp_path, "plan", "--update", ALL, "--json")
    assert len(json.loads(cold())["rebuilds"]) == IMAGES
    engine = create_engine(url) if kind == "postgresql" else database.open_database(url)
    settings = Settings(database_url=url)

    def warm(nvr: str) -> Callable[[], Any]:
        def draft() -> None:
            with reading(engine) as connection:
                planning.draft(connection, [change(nvr)], settings, time.time())

        draft()
        return draft

    with reading(engine) as connection:
        rows = connection.scalar(select(func.count()).select_from(ManifestRpm))
    print(f"\n{kind}: {IMAGES} images, {rows} manifest rows")
    for what, seconds, wanted in (
        ("loading it", load, "60 s"),
        ("the same again, nothing changed", again, "10 s"),
        ("plan for all from a cold process", seconds_of(cold), "1 s on SQLite"),
        ("plan for all, warm", seconds_of(warm(ALL)), "-"),
        ("plan for ten, warm", seconds_of(warm(TEN)), "0.020 s"),
    ):
        print(f"  {what:34} {seconds:7.3f} s   wanted: {wanted}")
    engine.dispose()
