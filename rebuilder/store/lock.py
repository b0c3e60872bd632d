"""One publisher for one database."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from sqlalchemy import Engine, text

from rebuilder.domain.errors import RequestError
from rebuilder.store.database import only_ours

ADVISORY = 0x7265_6276
SUFFIX = ".publisher.lock"
LOOK_SECONDS = 0.2


@contextmanager
def only_publisher(engine: Engine, stop: threading.Event) -> Iterator[None]:
    """Hold the publisher's lock on the database, once another that still ends has let go of it, or `stop` is set."""
    with ExitStack() as stack:
        while not stop.is_set():
            try:
                stack.enter_context(_held(engine))
                break
            except RequestError:
                stop.wait(LOOK_SECONDS)
        yield


@contextmanager
def _held(engine: Engine) -> Iterator[None]:
    held = _postgresql(engine) if engine.dialect.name == "postgresql" else _sqlite(engine)
    with held:
        yield


@contextmanager
def _postgresql(engine: Engine) -> Iterator[None]:
    key = {"key": ADVISORY}
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), key):
            raise RequestError("another publisher runs on this database")
        try:
            yield
        finally:  # back in the pool, the connection would go on holding it
            connection.scalar(text("SELECT pg_advisory_unlock(:key)"), key)


@contextmanager
def _sqlite(engine: Engine) -> Iterator[None]:
    with open(f"{engine.url.database}{SUFFIX}", "w", opener=only_ours) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RequestError("another publisher runs on this database") from None
        yield
