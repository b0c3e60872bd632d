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
ROUNDS = 5


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


def pure(count: int) -> dict[str, float]:
    """Planning in a process of its own, so that its memory is its own too."""
    layers = forest.forest(count, RPMS)
    graph, carried = Graph(layer.image for layer in layers), forest.carried(layers, forest.EVERYWHERE)
    few = forest.carried(layers, forest.SELDOM)
    seconds = durations(graph.images)
    gc.collect()
    gc.freeze()  # the forest is not the plan's to look through
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def plan() -> None:
        assert len(make_plan(graph, carried, [change(ALL)], slots=100, seconds=seconds).rebuilds) == count

    def plan_ten() -> None:
        assert len(make_plan(graph, few, [change(TEN)], slots=100, seconds=seconds).rebuilds) == forest.SELDOM_IMAGES

    found = {"plan": seconds_of(plan), "ten": seconds_of(plan_ten)}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    plain: nx.DiGraph[str] = graph.nx
    parents = {key: [parent for parent, _ in graph.parents(key)] for key in graph.keys}
    roots = [key for key in plain if not plain.in_degree(key)]

    def walk() -> None:
        list(nx.topological_sort(plain))
        set().union(*(nx.descendants(plain, root) for root in roots))

    return {
        **found,
        "networkx": seconds_of(walk),
        "graphlib": seconds_of(lambda: list(graphlib.TopologicalSorter(parents).static_order())),
        "before_mb": before / 1024,
        "peak_mb": peak / 1024,
    }


def test_planning_in_memory() -> None:
    sizes = (1_000, IMAGES, 10 * IMAGES)
    found = {}
    for size in sizes:
        with ProcessPoolExecutor(1, get_context("spawn")) as alone:
            found[size] = alone.submit(pure, size).result()
    print("\nplanning in memory; an update of what every image carries, and of what ten do")
    print("   images     all       ten   networkx  graphlib  all/networkx  memory before and at most")
    for size, row in found.items():
        print(
            f"  {size:7d}  {row['plan'] * 1000:6.0f} ms {row['ten'] * 1000:6.2f} ms {row['networkx'] * 1000:6.0f} ms "
            f"{row['graphlib'] * 1000:6.0f} ms  {row['plan'] / row['networkx']:8.1f}      "
            f"{row['before_mb']:5.0f} MB {row['peak_mb']:5.0f} MB"
        )
    grown = found[sizes[2]]["plan"] / found[sizes[1]]["plan"]
    print(f"  wanted: 150 ms for {IMAGES}; 2000 ms and 1000 MB for {10 * IMAGES}, at most 12-fold: {grown:.1f}-fold")


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
