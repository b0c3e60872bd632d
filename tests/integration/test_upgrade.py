"""Upgrading a database, and refusing one that is not of this version."""

from __future__ import annotations

import subprocess
from pathlib import Path
from threading import Event

import pytest
from integration.workbench import Workbench
from sqlalchemy import Engine, text
from support import shell

from rebuilder.domain.errors import RequestError, UnreachableError
from rebuilder.store import database

ROOT = Path(__file__).parents[2]
NEWER = "9999"


@pytest.fixture
def config(tmp_path: Path, database_url: str) -> Path:
    """A configuration with a fresh database."""
    path = tmp_path / "config.toml"
    path.write_text(f'[consumer_config]\ndatabase_url = "{database_url}"\n')
    return path


def command(config: Path, *arguments: str) -> list[str]:
    return shell.argv("--config", str(config), *arguments)


def types(config: Path, *arguments: str) -> tuple[int, str, str]:
    done = shell.types("--config", str(config), *arguments)
    return done.returncode, done.stdout, done.stderr


def become(url: str, version: str) -> None:
    engine = database.open_database(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :version"), {"version": version})
    engine.dispose()


def test_of_four_at_once_one_works_and_three_wait_and_agree(config: Path) -> None:
    running = [
        subprocess.Popen(command(config, "db", "upgrade"), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    told = [process.communicate(timeout=60) for process in running]
    assert [(process.returncode, error) for process, (_, error) in zip(running, told, strict=True)] == [(0, b"")] * 4
    assert sorted(output.decode().split(": ", 1)[1] for output, _ in told) == [
        *[f"already at {database.HEAD}\n"] * 3, f"now at {database.HEAD}\n",
    ]  # fmt: skip


def test_an_upgrade_goes_as_far_as_it_is_told(config: Path, database_url: str) -> None:
    assert types(config, "db", "upgrade", "--to", "0008")[1].endswith("now at 0008\n")
    engine = database.open_database(database_url)
    assert database.revision(engine) == "0008"
    status, _, line = types(config, "db", "upgrade", "--to", "0005")
    assert (status, line.count("\n")) == (2, 1)
    status, _, line = types(config, "db", "upgrade", "--to", "0999")
    assert (status, line.count("\n"), "0999" in line) == (2, 1, True)
    assert database.revision(engine) == "0008"
    assert types(config, "db", "upgrade")[1].endswith(f"now at {database.HEAD}\n")
    engine.dispose()


def test_the_sql_is_what_makes_the_tables(postgres_url: str, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'[consumer_config]\ndatabase_url = "{postgres_url}"\n')
    engine = database.open_database(postgres_url)
    for version in ("0004", "head"):
        status, sql, _ = types(config, "db", "upgrade", "--sql", "--to", version)
        assert status == 0
        before = database.revision(engine)
        assert before != database.HEAD
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.connection.driver_connection.execute(sql)  # type: ignore[union-attr]
    assert database.revision(engine) == database.HEAD
    assert Workbench(engine).states() == []
    engine.dispose()


def test_no_sql_is_told_of_a_file(sqlite_url: str) -> None:
    with pytest.raises(RequestError, match="only PostgreSQL"):
        database.upgrade_sql(database.open_database(sqlite_url))


@pytest.mark.parametrize("verb", ["engine", "web", "status", "run", "notify"])
def test_every_process_refuses_a_newer_database_in_one_line(config: Path, database_url: str, verb: str) -> None:
    types(config, "db", "upgrade")
    become(database_url, NEWER)
    status, output, line = types(config, verb)
    assert (status, output, line.count("\n")) == (2, "", 1)
    assert f"newer version ({NEWER}" in line and "upgrade rebuilder" in line


def test_an_upgrade_refuses_a_newer_database_too(config: Path, database_url: str) -> None:
    types(config, "db", "upgrade")
    become(database_url, NEWER)
    status, _, line = types(config, "db", "upgrade")
    assert (status, line.count("\n"), "newer version" in line) == (2, 1, True)


def test_an_older_postgresql_is_refused_in_one_line(postgres_url: str) -> None:
    with pytest.raises(RequestError, match="has no tables: run `rebuilder db upgrade`"):
        database.ready(postgres_url)
    database.upgrade(database.open_database(postgres_url), "0008")
    with pytest.raises(RequestError, match=r"older version \(0008.*run `rebuilder db upgrade`"):
        database.ready(postgres_url)


def test_an_engine_stops_when_the_tables_change_under_it(store: Engine, database_url: str) -> None:
    bench = Workbench(store)
    bench.loop.beat()
    become(database_url, NEWER)
    bench.clock.now += 10
    with pytest.raises(UnreachableError, match=NEWER):
        bench.loop.run(Event())


@pytest.mark.parametrize(
    "url", ["postgresql+psycopg://me:secret@h:abc/db", "postgresql+psycopg://me:secret@h:99999/db",
            "postgresql+psycopg://me:secret@h:-5/db", "postgresql+psycopg://me:secret@h:0/db"],
)  # fmt: skip
def test_a_wrong_port_is_one_line(tmp_path: Path, url: str) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'[consumer_config]\ndatabase_url = "{url}"\n')
    for arguments in (("db", "upgrade"), ("status",), ("config", "check")):
        status, output, line = types(config, *arguments)
        assert (status, line.count("\n")) == (2, 1)
        assert "database_url" in line and "secret" not in line + output
