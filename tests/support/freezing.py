"""Processes that are stopped for a while, as by a machine that sleeps: they keep all that they hold."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import Engine

TRIES = 100


@contextmanager
def frozen(*pids: int) -> Iterator[None]:
    """These processes stand still inside the block."""
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        thaw(pids)


def thaw(pids: Iterable[int]) -> None:
    """These go on, where they have not ended."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def freeze_between_transactions(pid: int, store: Engine) -> None:
    """Stop a process while it holds no lock on SQLite's file: nobody can take that away from it."""
    for _ in range(TRIES):
        os.kill(pid, signal.SIGSTOP)
        if store.dialect.name != "sqlite" or _writable(str(store.url.database)):
            return
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.05)
    raise AssertionError(f"process {pid} holds the file's lock all the time")


def _writable(path: str) -> bool:
    connection = sqlite3.connect(path, timeout=0.2, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.OperationalError:
        return False
    finally:
        connection.close()
    return True
