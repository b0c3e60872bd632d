"""SQLite's file: how it is opened, and whether it is still the same one."""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections import deque
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from msgspec import Struct
from sqlalchemy import URL, Connection, Engine, ExceptionContext, create_engine, event

from rebuilder.domain.errors import UnreachableError
from rebuilder.store.sqlite_owner import unwritable

OURS = 0o600
READING = {"reading": True}
LAST_USED_FIRST = {"pool_use_lifo": True}  # of the connections: it has the answers that were kept
BUSY_SECONDS, RELIEF_SECONDS = 30, 1
WAL_BYTES = 64 * 1024 * 1024  # what the journal shrinks to once everything of it is in the database
FORBIDDEN = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}
_NUMBER, _AT = 4, 68  # where the header has the application's number


def only_ours(path: str, flags: int) -> int:
    """An `opener`: a file that is made is its owner's alone, who is that of the folder where root makes it."""
    descriptor = os.open(path, flags, OURS)
    _give_to_the_folder_s_owner(descriptor, Path(path))
    return descriptor


def _give_to_the_folder_s_owner(file: int | Path, path: Path) -> None:
    """What root makes in the folder of the services must be theirs, or none of them starts again."""
    if os.geteuid() == 0 and (status := path.parent.stat()).st_uid:
        os.chown(file, status.st_uid, status.st_gid)


def is_of_others(path: Path) -> bool:
    """Whether the file is a database with tables, and without ours. What cannot be read is told when it is opened."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error:
        return False
    return bool(tables) and "alembic_version" not in tables


class Replaced(UnreachableError):
    """The file under us is another one, or gone: what was written into it would be lost."""


def is_on_disk(address: URL) -> bool:
    """Whether SQLite keeps the database in a file, rather than in the process's memory."""
    return address.database not in (None, "", ":memory:")


def opened(address: URL, *, migrating: bool = False, single: bool = False) -> Engine:
    """WAL lets people read while the engine writes; FULL makes a commit survive a power cut.

    A migration makes tables anew: foreign keys are not looked at while they are away, and no folder for temporary
    files is needed, as a container's user may have none. With `single` each statement is a transaction by itself.
    """
    pragmas = (
        "journal_mode = WAL", "synchronous = FULL", f"journal_size_limit = {WAL_BYTES}",
        *(("foreign_keys = OFF", "temp_store = MEMORY") if migrating else ("foreign_keys = ON",)),
    )  # fmt: skip

    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")

    pool = LAST_USED_FIRST if is_on_disk(address) else {}
    engine = create_engine(address, connect_args={"timeout": BUSY_SECONDS}, **pool)
    event.listen(engine, "connect", prepare)
    if address.database and is_on_disk(address):
        _watch(engine, Path(address.database))
    if not single:
        event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: Connection) -> None:
    """A writer takes the lock at once: upgrading it later fails with «locked» instead of waiting."""
    reading = connection.get_execution_options().get("reading")
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _watch(engine: Engine, path: Path) -> None:
    watched = _Watched(path)
    weakref.finalize(engine, watched.close)

    def made_ours(*_: Any) -> None:
        """SQLite gives its other files the mode of the database."""
        watched.same()
        with suppress(OSError):  # connecting says what is wrong
            path.touch(mode=OURS)
            _give_to_the_folder_s_owner(path, path)

    def connected(connection: Any, _record: Any) -> None:
        watched.learn(connection.execute("PRAGMA application_id").fetchone()[0])

    def explain(context: ExceptionContext) -> None:
        """SQLite says neither which file nor why. Its codes have more in the bits above these."""
        code = getattr(context.original_exception, "sqlite_errorcode", 0)
        if code & 0xFF in FORBIDDEN and (reason := unwritable(path)):
            raise UnreachableError(str(reason))

    event.listen(engine, "do_connect", made_ours)
    event.listen(engine, "handle_error", explain)
    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", lambda _: watched.same())


class _Open(Struct):
    descriptor: int
    users: int = 0


_OPEN: dict[tuple[int, int], _Open] = {}  # by device and inode
_LOCK = threading.Lock()  # of what stands above
# Those of engines that are gone. Python collects garbage wherever it allocates memory: the thread that ends an engine
# may be the one that holds the lock, and would wait for itself.
_ENDED: deque[tuple[int, int]] = deque()


def _let_go() -> None:
    """Close the files that no engine uses any more. The caller holds the lock."""
    while _ENDED:
        key = _ENDED.popleft()
        _OPEN[key].users -= 1
        if not _OPEN[key].users:
            os.close(_OPEN.pop(key).descriptor)


class _Watched(Struct):
    """A file, as it was when it was first opened.

    One descriptor stays open for each: to close any of a file lets go of all locks that this process has on it, those
    of SQLite too.
    """

    path: Path
    known: tuple[int, int] | None = None
    number: int = 0

    def learn(self, number: int) -> None:
        """This is the file, and this its number, as a connection reads it. Raises Replaced."""
        if self.known is None:
            self._open()
        if self.number and number != self.number:
            raise self._other("replaced")
        self.number = self.number or number

    def _open(self) -> None:
        with _LOCK:
            if self.known is not None:  # two connected at once for the first time
                return
            status = self.path.stat()
            key = status.st_dev, status.st_ino
            if key not in _OPEN:
                _OPEN[key] = _Open(os.open(self.path, os.O_RDONLY | os.O_CLOEXEC))
            _OPEN[key].users += 1
            self.known = key  # last, as `same` takes no lock
            _let_go()

    def same(self) -> None:
        """Nothing, where the file is the one that it was. Raises Replaced."""
        if self.known is None:
            return
        try:
            status = self.path.stat()
        except OSError:
            raise self._other("deleted") from None
        header = os.pread(_OPEN[self.known].descriptor, _NUMBER, _AT)
        number = int.from_bytes(header, "big")  # none before the first checkpoint
        if (status.st_dev, status.st_ino) != self.known or (self.number and number not in (0, self.number)):
            raise self._other("replaced")

    def _other(self, what: str) -> Replaced:
        return Replaced(f"database {self.path} was {what} while it was in use: nothing more is written; start again")

    def close(self) -> None:
        """Its engine has ended. Where the lock is taken, whoever takes it next lets go of the file."""
        if self.known is None:
            return
        _ENDED.append(self.known)
        if _LOCK.acquire(blocking=False):
            try:
                _let_go()
            finally:
                _LOCK.release()


def relieve(engine: Engine) -> int:
    """Have a journal that grew long begun anew. Its bytes, where somebody who reads has kept that from being done.

    SQLite does so by itself only in a moment without readers; this one waits for those who do, and not for long.
    """
    journal = Path(f"{engine.url.database}-wal")
    if engine.dialect.name != "sqlite" or not journal.exists() or journal.stat().st_size <= WAL_BYTES:
        return 0
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {RELIEF_SECONDS * 1000}")
        busy = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
    finally:
        connection.close()
    return journal.stat().st_size if busy else 0
