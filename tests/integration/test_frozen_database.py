"""A database that stands still, or holds a lock for ever: nobody waits for it without an end."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from integration.workbench import Workbench
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, OperationalError
from support import bus, servers
from support.freezing import frozen
from support.slowness import stretched, within

from rebuilder.demo.broker import Broker
from rebuilder.demo.process import free_port
from rebuilder.store import database
from rebuilder.store.lease import Candidate
from rebuilder.store.postgresql_connection import PatientConnection

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = """amqp_url = "{broker}"
[consumer_config]
database_url = "{database}"
poll_seconds = 0.05
[consumer_config.web]
port = {port}
[consumer_config.notify]
enabled = true
"""


class Process:
    """One of ours, with the file that configures it."""

    def __init__(self, folder: Path, url: str, broker: str = "amqp://127.0.0.1:1/") -> None:
        self.port = free_port()
        self.configuration = folder / "config.toml"
        self.configuration.write_text(CONFIGURATION.format(broker=broker, database=url, port=self.port))
        self.log = folder / "output.log"
        self.environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(folder)}

    @contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        command = [sys.executable, "-m", "rebuilder", "--config", str(self.configuration), *arguments]
        with self.log.open("ab") as output, subprocess.Popen(
            command, cwd=ROOT, env=self.environment, stdin=subprocess.PIPE, stdout=output, stderr=output
        ) as child:
            try:
                yield child
            finally:
                child.kill()


def ended_in_time(child: subprocess.Popen[bytes]) -> None:
    began = time.monotonic()
    child.send_signal(signal.SIGTERM)
    child.wait(10)
    assert time.monotonic() - began < within(5)


def settled(store: Engine, query: str) -> None:
    """Wait until the processes are at work on the database: the query finds something."""

    def found() -> object:
        with database.reading(store) as connection:
            return connection.scalar(text(query))

    bus.until(found)
    time.sleep(0.5)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PatientConnection, "answer_seconds", 1.0)


def pids(server: servers.PostgreSQL) -> list[int]:
    return [process.pid for process in server.processes]


def test_a_server_that_says_nothing_is_given_up(
    postgres: Engine, postgres_server: servers.PostgreSQL, hasty: None
) -> None:
    with postgres.connect() as connection, frozen(*pids(postgres_server)):
        began = time.monotonic()
        with pytest.raises(OperationalError, match="has not answered for 1 s"):
            connection.execute(text("SELECT 1"))
        assert time.monotonic() - began < within(3)
        connection.invalidate()
    with database.reading(postgres) as connection:
        assert connection.scalar(text("SELECT 1")) == 1


def test_the_server_ends_what_takes_too_long_and_the_url_goes_before_our_limits(postgres_url: str) -> None:
    told = {}
    for name, url in {"ours": postgres_url, "theirs": f"{postgres_url}?options=-c%20statement_timeout%3D1234"}.items():
        engine = database.open_database(url)
        with database.reading(engine) as connection:
            told[name] = [
                connection.scalar(text(f"SHOW {limit}"))
                for limit in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
            ]
        engine.dispose()
    assert told == {"ours": ["25s", "20s", "12s"], "theirs": ["1234ms", "20s", "12s"]}


def test_an_upgrade_may_take_as_long_as_it_takes(postgres_url: str, hasty: None) -> None:
    engine = database.open_database(f"{postgres_url}?options=-c%20lock_timeout%3D100")
    locked, let_go = threading.Event(), threading.Event()

    def somebody_else_upgrades() -> None:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": database.UPGRADING})
            locked.set()
            let_go.wait(30)

    other = threading.Thread(target=somebody_else_upgrades)
    other.start()
    locked.wait(30)
    threading.Timer(2.0, let_go.set).start()
    database.upgrade(engine)
    other.join()
    assert database.revision(engine) == database.HEAD
    engine.dispose()


@pytest.mark.parametrize("verb", ["engine", "web", "notify", "run"])
def test_each_process_ends_within_five_seconds_while_the_database_stands_still(
    verb: str, postgres: Engine, postgres_server: servers.PostgreSQL, postgres_url: str, tmp_path: Path
) -> None:
    process = Process(tmp_path, postgres_url)
    with process.running(verb) as child:
        if verb == "web":
            bus.until(lambda: answered(process.port))
        else:
            settled(postgres, "SELECT count(*) FROM lease WHERE owner != ''")
        with frozen(*pids(postgres_server)):
            time.sleep(1.5)
            ended_in_time(child)
        bus.until(lambda: not servers.processes_of(tmp_path), patience=stretched(5))


def test_an_engine_that_stands_by_ends_within_five_seconds_too(
    postgres: Engine, postgres_server: servers.PostgreSQL, postgres_url: str, tmp_path: Path
) -> None:
    process = Process(tmp_path, postgres_url)
    assert Candidate(postgres, "somebody else").try_acquire() is not None
    with process.running("engine") as child:
        bus.until(lambda: "stands by" in process.log.read_text())
        with frozen(*pids(postgres_server)):
            time.sleep(1.5)
            ended_in_time(child)


def test_a_consumer_that_waits_for_the_database_ends_within_five_seconds_and_loses_nothing(
    postgres: Engine, postgres_server: servers.PostgreSQL, postgres_url: str, broker: Broker, fresh_queue: str,
    tmp_path: Path,
) -> None:  # fmt: skip
    configuration = bus.configure(tmp_path, broker, fresh_queue, postgres_url)
    with bus.channel(broker) as opened:
        with bus.consumer(configuration) as child:
            bus.send(opened, fresh_queue, bus.update())
            settled(postgres, "SELECT count(*) FROM message")
            with frozen(*pids(postgres_server)):
                bus.send(opened, fresh_queue, bus.update())
                bus.until(lambda: not bus.waiting(opened, fresh_queue))
                time.sleep(0.5)
                began = time.monotonic()
                os.kill(child.pid, signal.SIGTERM)
                bus.until(lambda: not child.running)
                assert time.monotonic() - began < within(5)
        bus.until(lambda: bus.waiting(opened, fresh_queue) == 1)


def answered(port: int) -> httpx.Response | None:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health/live", timeout=5)
    except httpx.HTTPError:
        return None


def test_health_says_in_two_seconds_that_the_database_stands_still(
    postgres: Engine, postgres_server: servers.PostgreSQL, postgres_url: str, tmp_path: Path
) -> None:
    process = Process(tmp_path, postgres_url)
    with process.running("web"):
        bus.until(lambda: (found := answered(process.port)) and found.status_code == 200)
        page = f"http://127.0.0.1:{process.port}/"
        with frozen(*pids(postgres_server)), httpx.Client() as client:
            visitors = [threading.Thread(target=visit, args=(page,)) for _ in range(60)]
            for visitor in visitors:
                visitor.start()
            time.sleep(1)
            for which in ("live", "ready", "live"):
                began = time.monotonic()
                response = client.get(f"{page}health/{which}", timeout=10)
                assert time.monotonic() - began < within(2)
                assert response.status_code == 503
                assert any(told in response.text for told in ("no answer within", "cannot be reached")), response.text
        for visitor in visitors:
            visitor.join()
        bus.until(lambda: (found := answered(process.port)) and found.status_code == 200)


def visit(page: str) -> None:
    with suppress(httpx.HTTPError):
        httpx.get(page, timeout=4)


def test_the_engine_is_not_silent_while_it_waits_and_goes_on_afterwards(
    postgres: Engine, postgres_server: servers.PostgreSQL, hasty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rebuilder.engine.loop.DATABASE_PAUSE", 0.2)
    bench, stop, alive = Workbench(postgres), threading.Event(), list[float]()
    bench.loop._alive = lambda: alive.append(time.monotonic())
    running = threading.Thread(target=bench.loop.run, args=(stop,))
    running.start()
    try:
        bus.until(lambda: len(alive) > 2)
        with frozen(*pids(postgres_server)):
            time.sleep(8)
            seen = list(alive)
        assert max(b - a for a, b in zip(seen, [*seen[1:], time.monotonic()], strict=True)) < within(7)
        bench.tell("openssl-3.2.2-1.fc42")
        bus.until(lambda: bench.submitted())
    finally:
        stop.set()
        running.join()


def test_an_engine_ends_within_five_seconds_while_somebody_keeps_the_lock_of_an_sqlite_file(
    sqlite_url: str, tmp_path: Path
) -> None:
    engine = database.ready(sqlite_url)
    process = Process(tmp_path, sqlite_url)
    with process.running("engine") as child:
        settled(engine, "SELECT count(*) FROM lease WHERE owner != ''")
        keeper = sqlite3.connect(str(engine.url.database), isolation_level=None)
        keeper.execute("BEGIN IMMEDIATE")
        time.sleep(1.5)
        ended_in_time(child)
        keeper.close()


def test_a_lock_that_a_stopped_process_holds_is_let_go(postgres: Engine) -> None:
    """Its session ends: what it began is undone, and who takes over waits for a moment only."""
    first = Candidate(postgres, "first").try_acquire()
    assert first is not None
    second = Candidate(postgres, "second")
    with pytest.raises(DBAPIError, match=r"idle-in-transaction|terminating connection"), first.engine.begin() as held:
        began, term = time.monotonic(), None
        while term is None:
            term = second.try_acquire()
            assert time.monotonic() - began < within(16)
            time.sleep(0.3)
        held.execute(text("SELECT 1"))
