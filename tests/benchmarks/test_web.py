"""What status costs with a million finished rebuilds in the store, and what metrics cost."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import history
import pytest
from sqlalchemy import Engine
from support.api_client import Client

from rebuilder.config import Settings
from rebuilder.store import database

REBUILDS, ROUNDS = 1_000_000, 15
WANTED = 0.1
ASKED = (
    "status", "queue", "waves", "waves/{wave}", "images/image77:f42", "images/image77:f42/why",
    "rebuilds", "rebuilds?state=failed", "rebuilds?image=image77:f42", "rebuilds?image=image7*&state=failed",
    "rebuilds?update=FEDORA-500", "rebuilds?package=openssl&state=failed", "builds?image=image77:f42",
    "images", "changes", "messages?state=rejected",
)  # fmt: skip
LONGER = ("coverage/FEDORA-{wave}", "graph?wave={wave}")  # all of 5,000 images


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, int]]:
    """A database with all that history, and the number of the wave that is under way."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('history') / 'bench.db'}"
        yield from _filled(url)
    else:
        with request.getfixturevalue("postgres_server").database() as url:
            yield from _filled(url)


def _filled(url: str) -> Iterator[tuple[Engine, int]]:
    engine = database.open_database(url)
    database.upgrade(engine)
    began = time.perf_counter()
    wave = history.make(engine, REBUILDS)
    print(f"\n{engine.dialect.name}: {REBUILDS} finished rebuilds made in {time.perf_counter() - began:.0f} s")
    yield engine, wave
    engine.dispose()
    if engine.dialect.name == "sqlite" and engine.url.database:
        Path(engine.url.database).unlink()


def median(call: Callable[[], object]) -> float:
    """Seconds of one call, in the middle of several."""
    found = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        call()
        found.append(time.perf_counter() - began)
    return statistics.median(found)


def test_the_api_with_a_million_finished_rebuilds(filled: tuple[Engine, int]) -> None:
    engine, wave = filled
    client = Client(engine, Settings())
    for path in (*ASKED, *LONGER):
        asked = path.format(wave=wave)
        told = "" if path in LONGER else f" (wanted: less than {WANTED * 1000:.0f} ms)"
        print(f"{engine.dialect.name}: {asked}: {median(lambda asked=asked: client.reads(asked)) * 1000:.1f} ms{told}")  # type: ignore[misc]
    for page in ("/metrics", "/health/ready"):
        print(f"{engine.dialect.name}: {page}: {median(lambda page=page: client.http.get(page)) * 1000:.1f} ms")  # type: ignore[misc]
