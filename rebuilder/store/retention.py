"""What is old goes, a small batch at a time, in an order in which nothing is left that points at what is gone."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from sqlalchemy import Connection, Engine, delete, select

from rebuilder.store import manifests
from rebuilder.store.database import open_database, reading
from rebuilder.store.models import ImageBuild, Rebuild
from rebuilder.store.retention_rules import KINDS, Kind, Limits

BATCH = 200  # rows in one transaction: some milliseconds
LEAST_REST = 0.02


class Access:
    """How the database is read, and changed: in transactions of their own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def reading(self) -> AbstractContextManager[Connection]:
        """A transaction that only reads."""
        return reading(self._engine)

    def writing(self) -> AbstractContextManager[Connection]:
        """A transaction that is committed at its end."""
        return self._engine.begin()

    def may_delete_interned(self, connection: Connection) -> bool:
        """Whether no other transaction begins to use manifests and RPMs before this one ends."""
        return manifests.only_here(connection)

    def rest(self, seconds: float) -> None:
        """Leave the database to others."""
        time.sleep(seconds)


class _Rehearsal(Access):
    """All in the one transaction of a connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def reading(self) -> AbstractContextManager[Connection]:
        return nullcontext(self._connection)

    def writing(self) -> AbstractContextManager[Connection]:
        return nullcontext(self._connection)

    def may_delete_interned(self, connection: Connection) -> bool:
        """Nothing is deleted in the end: the lock would keep an engine from recording builds until then."""
        return True

    def rest(self, seconds: float) -> None:
        """No rebuild waits for it."""


@contextmanager
def rehearsing(engine: Engine) -> Iterator[Access]:
    """Whatever is done in the block has not happened after it, and keeps no other process from writing meanwhile."""
    if engine.dialect.name == "sqlite":
        with _copy(engine) as copy, copy.connect() as connection:
            yield _Rehearsal(connection)
    else:
        with engine.connect() as connection:
            yield _Rehearsal(connection)


@contextmanager
def _copy(engine: Engine) -> Iterator[Engine]:
    """A copy of an SQLite file: a transaction in the file itself would keep the engine waiting."""
    file = Path(str(engine.url.database))
    with tempfile.TemporaryDirectory(prefix=".rehearsal-", dir=file.parent) as folder:
        path = Path(folder) / "copy.db"
        source, target = sqlite3.connect(file), sqlite3.connect(path)
        try:
            source.backup(target)
        finally:
            source.close()
            target.close()
        copy = open_database(f"sqlite:///{path}")
        try:
            yield copy
        finally:
            copy.dispose()


def prune(access: Access, limits: Limits) -> dict[str, int]:
    """Delete all that is old; how many rows of each kind. Broken off anywhere, the next one goes on."""
    return {kind.name: _all_of(access, kind, limits) for kind in KINDS}


def rebuilds_named(connection: Connection, names: Sequence[str]) -> set[str]:
    """Those of these names that are the key of a rebuild, or what its builder calls it."""
    keys = connection.scalars(select(Rebuild.key).where(Rebuild.key.in_(names)))
    return {*keys, *connection.scalars(select(Rebuild.ref).where(Rebuild.ref.in_(names)))}


def builds_named(connection: Connection, idents: Sequence[str]) -> set[str]:
    """Those of these idents that are of an image's build."""
    return set(connection.scalars(select(ImageBuild.ident).where(ImageBuild.ident.in_(idents))))


def _all_of(access: Access, kind: Kind, limits: Limits) -> int:
    """Pass after pass, for what went let more go: parents are free once no child of theirs is left."""
    total = 0
    while gone := _one_pass(access, kind, limits):
        total += gone
    return total


def _one_pass(access: Access, kind: Kind, limits: Limits) -> int:
    """Newest first: children are newer than their parents."""
    gone, after = 0, None
    while True:
        with access.reading() as connection:
            query = select(kind.key).where(*kind.conditions(limits, connection.dialect.name))
            query = query if after is None else query.where(kind.key < after)
            ids = list(connection.scalars(query.order_by(kind.key.desc()).limit(BATCH)))
        if not ids:
            return gone
        began = time.monotonic()
        with access.writing() as connection:
            if not kind.interned or access.may_delete_interned(connection):
                gone += _delete(connection, kind, limits, ids)
        access.rest(max(LEAST_REST, time.monotonic() - began))
        after = ids[-1]


def _delete(connection: Connection, kind: Kind, limits: Limits, ids: Sequence[int]) -> int:
    """Delete those of the rows that may still go, now that no other transaction can come in between."""
    query = select(kind.key).where(kind.key.in_(ids), *kind.conditions(limits, connection.dialect.name))
    still = list(connection.scalars(query))
    for pointing in kind.along:
        connection.execute(delete(pointing.table).where(pointing.in_(still)))
    if still:
        connection.execute(delete(kind.model).where(kind.key.in_(still)))
    return len(still)
