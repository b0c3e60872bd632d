"""What pages cost with a million finished rebuilds in the store, and what fifty people with live pages do.

Beside the time that a page takes stands what the server works for it: other programs on the machine add to the first.
"""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import history
import httpx
import pytest
from support.website import Website

from rebuilder.store import database

REBUILDS = int(os.environ.get("BENCH_REBUILDS", 1_000_000))
ROUNDS, VIEWERS, SECONDS = 25, 50, 20.0
WANTED_SHARE = 0.20
TICK = os.sysconf("SC_CLK_TCK")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Website, int]]:
    """A site on such a history, and the number of the wave that is under way."""
    folder = tmp_path_factory.mktemp("pages")
    with ExitStack() as stack:
        url = f"sqlite:///{folder / 'bench.db'}"
        if request.param == "postgresql":
            url = stack.enter_context(request.getfixturevalue("postgres_server").database())
        engine = database.open_database(url)
        database.upgrade(engine)
        wave = history.make(engine, REBUILDS)
        engine.dispose()
        yield request.param, Website(folder, database_url=url), wave


def test_what_pages_take(site: tuple[str, Website, int]) -> None:
    kind, website, wave = site
    pages = {
        "overview": "/", "a wave of 1,000, under way": f"/waves/{wave}", "a wave of 1,000, done": f"/waves/{wave - 1}",
        "an image": "/images/image3:f42", "the base of all images": "/images/image0:f42", "waves": "/waves",
        "images": "/images", "a change": f"/changes/{wave}", "search": "/search?q=image49",
    }  # fmt: skip
    with website.served() as address, httpx.Client(base_url=address) as client:
        print(f"\n{kind}, {REBUILDS:,} finished rebuilds: median of {ROUNDS}, slowest, the server's work, size "
              "(wanted: a median of less than 100 ms)")
        for name, path in pages.items():
            client.get(path)
            took, size, before = [], 0, spent(website.pid)
            for _ in range(ROUNDS):
                began = time.perf_counter()
                response = client.get(path)
                took.append(time.perf_counter() - began)
                size = len(response.content)
                assert response.status_code == 200, response.text
            work = (spent(website.pid) - before) / ROUNDS
            times = " ".join(f"{seconds * 1000:7.1f} ms" for seconds in (statistics.median(took), max(took), work))
            print(f"  {name:28} {times} {size / 1024:7.1f} kB")


def test_what_a_csv_of_all_takes(site: tuple[str, Website, int]) -> None:
    kind, website, wave = site
    with website.served() as address, httpx.Client(base_url=address, timeout=60) as client:
        client.get("/api/v1/images")
        print(f"\n{kind}, {REBUILDS:,} finished rebuilds: a CSV of as many rows as there are, or as one has at most: "
              "rows, seconds, size, the most memory that the server has had by then")
        for path in (f"coverage/FEDORA-{wave}", "rebuilds", "builds", "images"):
            began = time.perf_counter()
            response = client.get(f"/api/v1/{path}?format=csv")
            took = time.perf_counter() - began
            assert response.status_code == 200, response.text
            rows, size = response.text.count("\r\n") - 1, len(response.content) / 1024
            print(f"  {path:28} {rows:7,} {took:7.2f} s {size:9.1f} kB {most_memory(website.pid):6.0f} MB")


def test_fifty_live_pages_cost_less_than_a_fifth_of_a_core_while_nothing_changes(
    site: tuple[str, Website, int]
) -> None:
    kind, website, wave = site
    with website.served() as address, ExitStack() as stack:
        client = stack.enter_context(httpx.Client(base_url=address, limits=httpx.Limits(max_connections=None)))
        heard = []
        for viewer in range(VIEWERS):
            path = "/live" if viewer % 2 else f"/live?wave={wave}"
            stream = stack.enter_context(client.stream("GET", path, timeout=60))
            lines = stream.iter_lines()
            heard.append(next(line for line in lines if line.startswith("data:")))
        assert len(set(heard)) == 1
        before = spent(website.pid)
        threading.Event().wait(SECONDS)
        share = (spent(website.pid) - before) / SECONDS
    print(f"\n{kind}: {VIEWERS} live pages, {share:.1%} of a core (wanted: less than {WANTED_SHARE:.0%})")
    assert share < WANTED_SHARE


def spent(pid: int) -> float:
    """The seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def most_memory(pid: int) -> float:
    """The most memory that a process has had so far, in MB."""
    (peak,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) / 1024
