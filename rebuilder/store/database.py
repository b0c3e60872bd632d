"""Opening the database, and bringing its tables up to date."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, select, table, text
from sqlalchemy.exc import DBAPIError, OperationalError

from rebuilder.domain.errors import RequestError, UnreachableError

HEAD = "0012"
MIGRATIONS = Path(__file__).parent / "alembic"
READING = {"reading": True}


def open_database(url: str) -> Engine:
    """An engine for the URL; connects on first use. SQLite's folder is made where it is missing."""
    address = make_url(url)
    if address.get_backend_name() != "sqlite":
        return create_engine(address, pool_pre_ping=True, connect_args={"connect_timeout": 10})
    if address.database:
        try:
            Path(address.database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UnreachableError(f"database {address.database}: {error.strerror or error}") from None
    return _sqlite(address, "ON")


def _sqlite(address: URL, foreign_keys: str) -> Engine:
    """WAL lets people read while the engine writes; FULL makes a commit survive a power cut."""

    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode = WAL", "synchronous = FULL", f"foreign_keys = {foreign_keys}"):
            connection.execute(f"PRAGMA {pragma}")

    engine = create_engine(address, connect_args={"timeout": 30})
    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _begin_sqlite(connection: Connection) -> None:
    """A writer takes the lock at once: upgrading it later fails with «locked» instead of waiting."""
    reading = connection.get_execution_options().get("reading")
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection that only reads, and sees one state of the database throughout."""
    with engine.connect().execution_options(**READING) as connection, connection.begin():
        yield connection


def revision(engine: Engine) -> str | None:
    """The migration the database is at; None where it has no tables of ours yet.

    Raises UnreachableError when the database cannot be opened.
    """
    try:
        with reading(engine) as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            found = connection.scalar(select(text("version_num")).select_from(table("alembic_version")))
            return str(found) if found is not None else None
    except DBAPIError as error:
        raise UnreachableError(f"database {where(engine)}: {first_line(error)}") from None


def upgrade(engine: Engine) -> None:
    """Bring the tables to the newest version; all of it or nothing. Raises UnreachableError."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    sqlite = engine.dialect.name == "sqlite"
    # SQLite changes a table by making it anew, which its references forbid while they are enforced.
    changing = _sqlite(engine.url, "OFF") if sqlite else engine
    try:
        with changing.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except OperationalError as error:
        raise UnreachableError(f"database {where(engine)}: {first_line(error)}") from None


def ready(url: str) -> Engine:
    """An open database whose tables are up to date. A SQLite file is brought up to date by itself.

    Raises RequestError where an operator must run `rebuilder db upgrade` first, or the tables are of a newer version.
    """
    engine = open_database(url)
    found = revision(engine)
    if found == HEAD:
        return engine
    if found is not None and found > HEAD:
        raise RequestError(f"database {where(engine)} is of a newer version ({found}): upgrade rebuilder")
    if engine.dialect.name != "sqlite":
        raise RequestError(f"database {where(engine)} is not up to date: run `rebuilder db upgrade`")
    upgrade(engine)
    return engine


def where(engine: Engine) -> str:
    """The database's address without its password."""
    return engine.url.render_as_string(hide_password=True)


def first_line(error: DBAPIError) -> str:
    """What the driver said, in one line."""
    lines = str(error.orig).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def shown(url: str) -> str:
    """A database URL without its password."""
    return make_url(url).render_as_string(hide_password=True)
