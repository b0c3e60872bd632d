"""Databases with their tables, as copies: to migrate one takes longer than most tests."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import Engine

from rebuilder.store import database
from rebuilder.store.sqlite_file import OURS


def sqlite(path: Path) -> Engine:
    """A new SQLite file with its tables."""
    path.write_bytes(_migrated())
    path.chmod(OURS)
    return database.open_database(f"sqlite:///{path}")


@cache
def _migrated() -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "template.db"
        engine = database.open_database(f"sqlite:///{path}")
        database.upgrade(engine)
        engine.dispose()
        return path.read_bytes()
