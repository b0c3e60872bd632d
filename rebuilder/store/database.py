"""Opening the database, and bringing its tables up to date."""

from __future__ import annotations

import fcntl
import io
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Any, TextIO

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, inspect, make_url, select, table, text
from sqlalchemy.exc import ArgumentError, DBAPIError

from rebuilder.config import own_folder
from rebuilder.distribution import needs
from rebuilder.domain.errors import RequestError, UnreachableError
from rebuilder.store import sqlite_file
from rebuilder.store.sqlite_file import LAST_USED_FIRST, READING, only_ours
from rebuilder.store.sqlite_owner import Unwritable, unwritable
from rebuilder.store.timeouts import OPTIONS, limits, unlimited

if TYPE_CHECKING:  # alembic takes a while to load, and only an upgrade needs it
    from alembic.config import Config

HEAD = "0030"
MIGRATIONS = Path(__file__).parent / "alembic"
UPGRADING = 0x7265_6278
_VERSION = select(text("version_num")).select_from(table("alembic_version"))


def open_database(url: str, *, single: bool = False) -> Engine:
    """An engine for the URL; connects on first use. SQLite's folder is made where it is missing.

    Raises RequestError for a file with another program's tables, which stays as it is, and UnreachableError where the
    folder cannot be made.

    `single` is for who writes single statements, one after the other: each is a transaction by itself, and PostgreSQL
    is not asked before whether it is there: three questions less for each.
    """
    address = address_of(url)
    if address.get_backend_name() != "sqlite":
        return _postgresql(address, single)
    if address.database:
        try:
            own_folder(Path(address.database).parent)
        except OSError as error:
            raise UnreachableError(f"database {address.database}: {error.strerror or error}") from None
        if sqlite_file.is_of_others(Path(address.database)):
            raise RequestError(f"database {shown(url)}: its tables are another program's: name a file of its own")
    return sqlite_file.opened(address, single=single)


def _postgresql(address: URL, single: bool) -> Engine:
    """The driver's own connections wait for ever: ours wait for an answer as long as `timeouts` says."""
    level = {"isolation_level": "AUTOCOMMIT"} if single else {}
    plain = address.difference_update_query([OPTIONS])
    with needs("postgresql", "PostgreSQL"):
        from rebuilder.store.postgresql_connection import PatientConnection
    given = {"connect_args": limits(address), **LAST_USED_FIRST, **level}
    engine = create_engine(plain, pool_pre_ping=not single, **given)
    event.listen(engine, "do_connect", lambda _dialect, _record, _args, named: PatientConnection.connect(**named))
    return engine


def address_of(url: str) -> URL:
    """The URL's parts. Raises RequestError, without the password, for what is no URL of a database."""
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        raise RequestError("database_url: must have the form postgresql+psycopg://user@host:5432/name") from None
    if address.port is not None and not 0 < address.port < 65536:
        raise RequestError(f"database_url: invalid port {address.port}")
    return address


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection that only reads, and sees one state of the database throughout.

    PostgreSQL would show each statement what was committed before that one.
    """
    one_state = {"isolation_level": "REPEATABLE READ"} if engine.dialect.name == "postgresql" else {}
    with engine.connect().execution_options(**READING, **one_state) as connection, connection.begin():
        yield connection


def revision(engine: Engine) -> str | None:
    """The migration the database is at; None where it has no tables of ours yet.

    Raises UnreachableError when the database cannot be opened.
    """
    try:
        with reading(engine) as connection:
            return _version(connection)
    except DBAPIError as error:
        raise UnreachableError(f"database {where(engine)}: {first_line(error)}") from None


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    version = connection.scalar(_VERSION)
    return str(version) if version is not None else None


def upgrade(engine: Engine, to: str = "head") -> tuple[str | None, str]:
    """Bring the tables to the newest version, or to an earlier one; all of it or nothing. From where, and to where.

    Of several who do so at once one works, and the others wait for it. Raises UnreachableError, or RequestError where
    there is no such version ahead.
    """
    sqlite = engine.dialect.name == "sqlite"
    try:
        with _alone(engine):
            # SQLite changes a table by making it anew, which its references forbid while they are enforced.
            changing = sqlite_file.opened(engine.url, migrating=True) if sqlite else engine
            engine.dispose()  # connections are made anew with what the file is then
            with changing.begin() as connection, nullcontext() if sqlite else _in_turn(connection):
                before = _version(connection)
                _migrate(engine, connection, before, to)
                versions = before, str(_version(connection))
            changing.dispose()  # the last to close an SQLite file leaves all in it, and nothing in its journal
            return versions
    except DBAPIError as error:
        raise UnreachableError(f"database {where(engine)}: {first_line(error)}") from None


def _migrate(engine: Engine, connection: Connection, before: str | None, to: str) -> None:
    from alembic import command

    with _foreseen(engine, before, to):
        command.upgrade(_migrations(connection=connection), to)


@contextmanager
def _in_turn(connection: Connection) -> Iterator[None]:
    """PostgreSQL's way to let one upgrade at a time, for as long as it takes."""
    with unlimited(connection):
        connection.execute(select(func.pg_advisory_xact_lock(UPGRADING)))
        yield


@contextmanager
def _alone(engine: Engine) -> Iterator[None]:
    """SQLite lets two who open a file for the first time get into each other's way, so they do it in turn."""
    if engine.dialect.name != "sqlite" or not engine.url.database:
        yield
        return
    with ExitStack() as stack:
        try:
            file = stack.enter_context(open(f"{engine.url.database}.upgrade.lock", "w", opener=only_ours))
        except OSError as error:
            reason = unwritable(Path(engine.url.database))
            raise UnreachableError(str(reason or f"database {where(engine)}: {error.strerror or error}")) from None
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _foreseen(engine: Engine, before: str | None, to: str) -> Iterator[None]:
    """What alembic has no migrations for is the request's fault; versions have four digits."""
    from alembic.util import CommandError

    if before is not None and before > HEAD:
        raise _newer(engine, before)
    if before is not None and to < before:
        raise RequestError(f"database {where(engine)} is at {before}: there is no way back to {to}")
    try:
        yield
    except CommandError as error:
        raise RequestError(f"database {where(engine)} is at {before or 'no version'}: {error}") from None


def _newer(engine: Engine, version: str) -> RequestError:
    return RequestError(f"database {where(engine)} is of a newer version ({version}, not {HEAD}): upgrade rebuilder")


def _older(engine: Engine, version: str | None) -> RequestError:
    older = f"is of an older version ({version}, not {HEAD})" if version else "has no tables"
    return RequestError(f"database {where(engine)} {older}: run `rebuilder db upgrade`")


def _migrations(output: TextIO | None = None, **attributes: Any) -> Config:
    from alembic.config import Config

    config = Config(output_buffer=output)
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes.update(attributes)
    return config


def upgrade_sql(engine: Engine, to: str = "head") -> str:
    """What `upgrade` would say to the database. Raises as that does, and where it is an SQLite file.

    An SQLite table is made anew from what it is found to be: there is no telling without doing.
    """
    from alembic import command

    if engine.dialect.name == "sqlite":
        raise RequestError(f"database {where(engine)}: only PostgreSQL's SQL can be printed beforehand")
    before = revision(engine)
    written = io.StringIO()
    with _foreseen(engine, before, to):
        command.upgrade(_migrations(written), f"{before or 'base'}:{to}", sql=True)
    return written.getvalue()


def ready(url: str) -> Engine:
    """An open database whose tables are up to date. A SQLite file is brought up to date by itself.

    Raises RequestError where an operator must run `rebuilder db upgrade` first, or the tables are of a newer version.
    """
    engine = open_database(url)
    version = revision(engine)
    if version == HEAD:
        return engine
    if version is not None and version > HEAD:
        raise _newer(engine, version)
    if engine.dialect.name != "sqlite":
        raise _older(engine, version)
    upgrade(engine)
    return engine


def existing(url: str) -> Engine:
    """The same for who only reads: an SQLite database that is not there is not made.

    Raises as `ready`, and UnreachableError where there is none.
    """
    as_it_is(url).dispose()
    return ready(url)


def as_it_is(url: str) -> Engine:
    """The database as `open_database`, of whatever version it is. Raises UnreachableError where there is none."""
    if _missing(url):
        made = "`rebuilder inventory sync` or `rebuilder db upgrade` makes one"
        raise UnreachableError(f"there is no database {shown(url)} yet: {made}")
    return open_database(url)


def forbidden(url: str) -> Unwritable | None:
    """Why an SQLite file that is there cannot be written by who must; it is not opened."""
    return unwritable(Path(str(address_of(url).database))) if is_file(url) else None


def condition(url: str) -> str:
    """What state the database is in, in words; nothing is made or changed.

    Raises RequestError where it needs an operator, and UnreachableError.
    """
    if _missing(url):
        return "not made yet"
    engine = open_database(url)
    try:
        version = revision(engine)
        if version is not None and version > HEAD:
            raise _newer(engine, version)
        if version == HEAD:
            return f"version {version}"
        if engine.dialect.name != "sqlite":
            raise _older(engine, version)
        return f"version {version}; it is brought to {HEAD} when it is used"
    finally:
        engine.dispose()


def is_file(url: str) -> bool:
    """Whether the database is a file, SQLite's."""
    address = address_of(url)
    return address.get_backend_name() == "sqlite" and sqlite_file.is_on_disk(address)


def _missing(url: str) -> bool:
    """Whether there is no SQLite file there that has anything in it. Another kind of database is asked itself."""
    if not is_file(url):
        return False
    try:
        status = Path(str(address_of(url).database)).stat()
        return S_ISREG(status.st_mode) and not status.st_size
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False  # whoever opens it says what is wrong


def check_version(connection: Connection) -> None:
    """Raises UnreachableError where the tables were changed under us: whoever is started now looks at them anew."""
    version = connection.scalar(_VERSION)
    if version != HEAD:
        raise UnreachableError(f"database: its version was changed from {HEAD} to {version}: start again")


def where(engine: Engine) -> str:
    """The database's address without its password."""
    return engine.url.render_as_string(hide_password=True)


def first_line(error: DBAPIError) -> str:
    """What the driver said, in one line."""
    lines = str(error.orig).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def shown(url: str) -> str:
    """A database URL without its password."""
    return address_of(url).render_as_string(hide_password=True)
