"""One engine for one database."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, text

from rebuilder.domain.errors import RequestError

ADVISORY = 0x7265_6275


@contextmanager
def only_engine(engine: Engine) -> Iterator[None]:
    """Hold the engine's lock on the database; it goes with the process. Raises RequestError where another has it."""
    held = _postgresql(engine) if engine.dialect.name == "postgresql" else _sqlite(engine)
    with held:
        yield


@contextmanager
def _postgresql(engine: Engine) -> Iterator[None]:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": ADVISORY}):
            raise RequestError("another engine runs on this database")
        try:
            yield
        finally:  # back in the pool, the connection would go on holding it
            connection.scalar(text("SELECT pg_advisory_unlock(:key)"), {"key": ADVISORY})


@contextmanager
def _sqlite(engine: Engine) -> Iterator[None]:
    with Path(f"{engine.url.database}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RequestError("another engine runs on this database") from None
        yield
