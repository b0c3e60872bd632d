"""A connection to PostgreSQL that waits for an answer for a while, and then no more.

In a file of its own: the driver takes a while to load, and a command on SQLite does not need it.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg
from psycopg.waiting import Ready, wait_poll

ANSWER_SECONDS = 30.0  # until a server that says nothing is given up: half of the engine's watchdog
LOOK_SECONDS = 0.1
T = TypeVar("T")


class PatientConnection(psycopg.Connection[Any]):
    """A connection that is given up where the server does not answer in time."""

    answer_seconds = ANSWER_SECONDS

    def wait(self, gen: Generator[Any, Any, T], interval: float = LOOK_SECONDS, timeout: float | None = None) -> T:
        """Wait for an answer. Raises psycopg's OperationalError.

        By psycopg's own wait in Python: the one in C does not tell that nothing comes.
        """
        return wait_poll(self._limited(gen), self.pgconn.socket, interval)

    def _limited(self, gen: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        until = time.monotonic() + self.answer_seconds
        try:
            wait = next(gen)
            while True:
                ready = yield wait
                if ready == Ready.NONE and time.monotonic() >= until:
                    self.pgconn.finish()
                    raise psycopg.OperationalError(f"the server has not answered for {self.answer_seconds:g} s")
                wait = gen.send(ready)
        except StopIteration as end:
            result: T = end.value
            return result
