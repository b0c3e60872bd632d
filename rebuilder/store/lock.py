"""One engine for one database, and one publisher."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from sqlalchemy import Engine, text

from rebuilder.domain.errors import RequestError
from rebuilder.store.database import only_ours

ADVISORY = {"engine": 0x7265_6275, "publisher": 0x7265_6276}
SUFFIX = {"engine": ".lock", "publisher": ".publisher.lock"}
LOOK_SECONDS = 0.2


@contextmanager
def only_engine(engine: Engine) -> Iterator[None]:
    """Hold the engine's lock on the database; it goes with the process. Raises RequestError where another has it."""
    with _held(engine, "engine"):
        yield


@contextmanager
def only_publisher(engine: Engine, stop: threading.Event) -> Iterator[None]:
    """Hold the publisher's lock on the database, once another that still ends has let go of it, or `stop` is set."""
    with ExitStack() as stack:
        while not stop.is_set():
            try:
                stack.enter_context(_held(engine, "publisher"))
                break
            except RequestError:
                stop.wait(LOOK_SECONDS)
        yield


@contextmanager
def _held(engine: Engine, role: str) -> Iterator[None]:
    held = _postgresql(engine, role) if engine.dialect.name == "postgresql" else _sqlite(engine, role)
    with held:
        yield


@contextmanager
def _postgresql(engine: Engine, role: str) -> Iterator[None]:
    key = {"key": ADVISORY[role]}
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), key):
            raise RequestError(f"another {role} runs on this database")
        try:
            yield
        finally:  # back in the pool, the connection would go on holding it
            connection.scalar(text("SELECT pg_advisory_unlock(:key)"), key)


@contextmanager
def _sqlite(engine: Engine, role: str) -> Iterator[None]:
    with open(f"{engine.url.database}{SUFFIX[role]}", "w", opener=only_ours) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RequestError(f"another {role} runs on this database") from None
        yield
