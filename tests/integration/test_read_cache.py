"""Kept answers hold for as long as nothing in the database changes, whoever changes it, and no longer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import pytest
from sqlalchemy import Engine, event, text
from support.servers import PostgreSQL

from rebuilder.store import database
from rebuilder.store.read_cache import MOST, cached


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: object) -> Iterator[Engine]:
    """A database with a table of one number."""
    if request.param == "sqlite":
        yield from _with_table(f"sqlite:///{tmp_path}/cache.db")
    else:
        with request.getfixturevalue("postgres_server").database() as url:
            yield from _with_table(url)


def _with_table(url: str) -> Iterator[Engine]:
    engine = database.open_database(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num TEXT)"))  # without it, it is not ours
        connection.execute(text("CREATE TABLE number (value INTEGER)"))
        connection.execute(text("INSERT INTO number VALUES (1)"))
    yield engine
    engine.dispose()


class Reader:
    """Reads the number by the cache, and counts how often it had to look."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.looks = engine, 0

    def read(self, key: str = "number") -> int:
        with database.reading(self.engine) as connection:
            def look() -> int:
                self.looks += 1
                return int(connection.execute(text("SELECT value FROM number")).scalar_one())

            return cached(connection, key, look)


def test_it_is_looked_once_while_nothing_changes(engine: Engine) -> None:
    reader = Reader(engine)
    assert [reader.read() for _ in range(5)] == [1] * 5
    assert reader.looks == 1


def test_what_another_process_commits_is_seen_at_once(engine: Engine) -> None:
    reader, other = Reader(engine), database.open_database(engine.url.render_as_string(hide_password=False))
    for value in range(2, 12):
        with other.begin() as connection:
            connection.execute(text("UPDATE number SET value = :value"), {"value": value})
        assert reader.read() == value
    other.dispose()


def test_what_is_committed_by_the_reader_s_own_connection_is_seen_at_once(engine: Engine) -> None:
    reader = Reader(engine)
    for value in range(2, 12):
        with engine.begin() as connection:  # the pool has one connection, which is the reader's too
            connection.execute(text("UPDATE number SET value = :value"), {"value": value})
        assert reader.read() == value


def test_what_was_written_and_rolled_back_is_never_an_answer(engine: Engine) -> None:
    reader = Reader(engine)
    with engine.connect() as connection, connection.begin() as transaction:
        connection.execute(text("UPDATE number SET value = 7"))
        count = "SELECT value FROM number"
        assert cached(connection, "number", lambda: connection.execute(text(count)).scalar_one()) == 7
        transaction.rollback()
    assert reader.read() == 1


def test_a_transaction_that_began_before_a_change_keeps_to_what_it_sees_or_sees_it(engine: Engine) -> None:
    """Whatever the old transaction leaves behind, who comes after it sees the change."""
    with database.reading(engine) as connection:
        old = cached(connection, "number", lambda: connection.execute(text("SELECT value FROM number")).scalar_one())
        other = database.open_database(engine.url.render_as_string(hide_password=False))
        with other.begin() as writing:
            writing.execute(text("UPDATE number SET value = 2"))
        other.dispose()
        cached(connection, "late", lambda: connection.execute(text("SELECT value FROM number")).scalar_one())
    assert old == 1
    assert Reader(engine).read("late") == Reader(engine).read() == 2


def test_answers_are_few(engine: Engine) -> None:
    reader = Reader(engine)
    for at in range(3 * MOST):
        reader.read(f"{at}")
    with engine.connect() as connection:
        assert len(connection.info["rebuilder.read_cache"][1]) <= MOST


def test_who_reads_alone_after_many_read_at_once_has_one_connection_s_answers(engine: Engine) -> None:
    with ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(database.reading(engine))
    reader = Reader(engine)
    assert [reader.read() for _ in range(5)] == [1] * 5
    assert reader.looks == 1


def test_of_the_answers_for_moments_the_last_is_kept(engine: Engine) -> None:
    looked: list[int] = []

    def look(moment: int) -> int:
        looked.append(moment)
        return moment

    for moment in (1, 1, 2, 2, 1):
        with database.reading(engine) as connection:
            assert cached(connection, "then", partial(look, moment), of=moment) == moment
    assert looked == [1, 2, 1]


def test_what_the_transaction_sees_is_asked_once(postgres_server: PostgreSQL) -> None:
    asked: list[str] = []
    with postgres_server.database() as url:
        engine = database.open_database(url)
        event.listen(engine, "before_cursor_execute", lambda *told: asked.append(told[2]))
        for _ in range(2):
            with database.reading(engine) as connection:
                assert [cached(connection, at, partial(int, at)) for at in range(5)] == list(range(5))
        engine.dispose()
    assert len([statement for statement in asked if "pg_current_snapshot" in statement]) == 2
