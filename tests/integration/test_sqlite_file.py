"""SQLite's file: each transaction looks whether it is still the one that was opened; and its journal stays small."""

from __future__ import annotations

import gc
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from integration.test_frozen_database import Process
from integration.workbench import Workbench
from sqlalchemy import Engine, text
from support import bus, databases

from rebuilder.demo.broker import Broker
from rebuilder.domain.message import IncomingMessage
from rebuilder.store import database, inbox, sqlite_file
from rebuilder.store.lease import read
from rebuilder.store.sqlite_file import WAL_BYTES, Replaced, relieve


@pytest.fixture
def store(tmp_path: Path) -> Engine:
    return databases.sqlite(tmp_path / "test.db")


def file_of(store: Engine) -> Path:
    return Path(str(store.url.database))


def folded(path: Path) -> None:
    """Put all that the journal has into the file."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def another(folder: Path) -> Path:
    """A database of ours that is not this one, in one file."""
    engine = database.ready(f"sqlite:///{folder / 'another.db'}")
    engine.dispose()
    folded(folder / "another.db")
    return folder / "another.db"


def deleted(path: Path, _: Path) -> None:
    path.unlink()


def moved_over(path: Path, other: Path) -> None:
    other.replace(path)


def written_over(path: Path, other: Path) -> None:
    """The file stays the same, as systems go; what is in it does not."""
    shutil.copyfile(other, path)


@pytest.mark.parametrize("change", [deleted, moved_over, written_over])
def test_nothing_is_written_into_a_file_that_is_not_the_one_we_opened(
    store: Engine, tmp_path: Path, change: Callable[[Path, Path], None]
) -> None:
    inbox.receive(store, [IncomingMessage("1", "x", {}, {})])
    folded(file_of(store))
    change(file_of(store), another(tmp_path))
    for _ in range(2):
        with pytest.raises(Replaced, match=r"was (deleted|replaced) while it was in use"):
            inbox.receive(store, [IncomingMessage("2", "x", {}, {})])
        with pytest.raises(Replaced), database.reading(store):
            pass


@pytest.mark.parametrize("change", [deleted, moved_over, written_over])
def test_an_engine_ends_with_a_clear_line(
    sqlite_url: str, store: Engine, tmp_path: Path, change: Callable[[Path, Path], None]
) -> None:
    other, process = another(tmp_path), Process(tmp_path, sqlite_url)

    def acts() -> bool:
        with database.reading(store) as connection:
            return bool(read(connection).owner)

    with process.running("engine") as child:
        bus.until(acts)
        folded(file_of(store))
        change(file_of(store), other)
        assert child.wait(20) == 3
    last = process.log.read_text().splitlines()[-1]
    assert last.startswith("rebuilder: database ") and "while it was in use: nothing more is written" in last
    assert "Traceback" not in process.log.read_text()


def test_a_consumer_ends_with_a_clear_line_and_its_message_goes_back(
    store: Engine, sqlite_url: str, broker: Broker, fresh_queue: str, tmp_path: Path
) -> None:
    with bus.channel(broker) as opened:
        with bus.consumer(bus.configure(tmp_path, broker, fresh_queue, sqlite_url)) as child:
            bus.send(opened, fresh_queue, bus.update())
            bus.until(lambda: kept(store))
            file_of(store).unlink()
            bus.send(opened, fresh_queue, bus.update())
            bus.until(lambda: not child.running)
            assert "was deleted while it was in use: nothing more is written" in child.log.read_text()
        bus.until(lambda: bus.waiting(opened, fresh_queue) == 1)


def kept(store: Engine) -> int:
    with database.reading(store) as connection:
        return len(inbox.listing(connection, None, 10))


def test_a_link_and_a_file_that_a_second_process_upgrades_are_no_other_file(sqlite_url: str, tmp_path: Path) -> None:
    engine = database.open_database(sqlite_url)
    database.upgrade(engine, "0008")
    with engine.begin() as connection:
        connection.execute(text("SELECT 1"))
    command = [sys.executable, "-m", "rebuilder", "--config", str(Process(tmp_path, sqlite_url).configuration)]
    subprocess.run([*command, "db", "upgrade"], check=True, capture_output=True)
    with engine.begin() as connection:
        connection.execute(text("SELECT 1"))
    engine.dispose()


def grow(store: Engine, count: int) -> None:
    """A megabyte each."""
    for _ in range(count):
        grow.number += 1  # type: ignore[attr-defined]
        inbox.receive(store, [IncomingMessage(str(grow.number), "x", {}, {"text": "x" * 1_000_000})])  # type: ignore[attr-defined]


grow.number = 0  # type: ignore[attr-defined]


def test_the_journal_shrinks_when_a_long_reader_is_gone(store: Engine) -> None:
    bench = Workbench(store)
    journal = Path(f"{file_of(store)}-wal")
    with database.reading(store) as connection:
        connection.execute(text("SELECT count(*) FROM message"))
        grow(store, 100)
        assert relieve(store), "the reader keeps it"
        assert journal.stat().st_size > WAL_BYTES
    bench.clock.now += 1000
    bench.loop.beat()
    assert journal.stat().st_size <= WAL_BYTES


def test_the_journal_shrinks_although_somebody_always_reads(store: Engine) -> None:
    """SQLite begins its journal anew only while nobody reads it, which never is with readers that overlap."""
    journal = Path(f"{file_of(store)}-wal")
    readers = [store.connect() for _ in range(2)]
    for turn in range(120):
        readers[turn % 2].rollback()
        readers[turn % 2].execution_options(reading=True).execute(text("SELECT count(*) FROM message"))
        grow(store, 1)
    assert journal.stat().st_size > WAL_BYTES
    for reader in readers:
        reader.close()
    assert relieve(store) == 0
    assert journal.stat().st_size <= WAL_BYTES


def test_who_looks_while_another_thread_opens_the_file_for_the_first_time_sees_the_same(
    store: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file_of(store).parent / "copy.db"
    shutil.copyfile(file_of(store), path)
    watched = sqlite_file._Watched(path)
    opening = os.open

    def open_slowly(*words: Any) -> int:
        watched.same()
        return opening(*words)

    monkeypatch.setattr(os, "open", open_slowly)
    watched.learn(0)
    watched.same()
    watched.close()


def test_an_engine_that_is_collected_while_another_one_opens_its_file_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python collects garbage wherever it allocates memory, in the middle of that, too."""
    for name in "ab":
        databases.sqlite(tmp_path / f"{name}.db").dispose()
    garbage = [database.open_database(f"sqlite:///{tmp_path}/a.db")]
    garbage[0].connect().close()
    opening = os.open
    opened: list[int] = []

    def open_collecting(*words: Any) -> int:
        garbage.clear()
        gc.collect()
        opened.append(opening(*words))
        return opened[-1]

    monkeypatch.setattr(os, "open", open_collecting)
    watched = sqlite_file._Watched(tmp_path / "b.db")
    thread = threading.Thread(target=watched.learn, args=(0,), daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive() and opened
    still_open = {path.resolve() for path in Path("/proc/self/fd").iterdir()}
    assert tmp_path / "b.db" in still_open and tmp_path / "a.db" not in still_open
    watched.close()
