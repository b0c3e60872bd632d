"""What the database keeps, on SQLite and on PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from integration.stored import received
from sqlalchemy import Engine, text
from support.servers import PostgreSQL

from rebuilder.domain.change import Change, Severity
from rebuilder.domain.message import IncomingMessage
from rebuilder.domain.rpm import SourceBuild
from rebuilder.store import changes, counters, database, inbox, pending_changes
from rebuilder.store.counters import StoredCounter
from rebuilder.store.upsert import refresh_statistics


def test_a_message_counts_once(store: Engine) -> None:
    assert inbox.receive(store, [received("a", {"n": 1}), received("b"), received("a", {"n": 2})], 5.0) == [
        True, True, False,
    ]  # fmt: skip
    assert inbox.receive(store, [received("b")], 6.0) == [False]
    with database.reading(store) as connection:
        kept = inbox.unread(connection, 10)
    assert [(k.message.id, k.message.body, k.received_at) for k in kept] == [("a", {"n": 1}, 5.0), ("b", None, 5.0)]


def test_any_body_is_kept_as_it_came(store: Engine) -> None:
    bodies: list[Any] = [None, [], "text", 7, 1.5, True, {"deep": [{"ü": "\x00 \U0001f600"}]}]
    inbox.receive(store, [received(str(at), body) for at, body in enumerate(bodies)])
    with database.reading(store) as connection:
        assert [kept.message.body for kept in inbox.unread(connection, 10)] == bodies


def test_the_same_change_from_two_messages_is_one(store: Engine) -> None:
    openssl = SourceBuild.parse("openssl-3.2.2-1.fc42")
    tagged, update_ = Change(openssl, "f42"), Change(openssl, "f42", Severity.HIGH, "FEDORA-1", "https://x", "security")
    with store.begin() as connection:
        assert changes.notice(connection, [tagged], None, "f42-build", 10.0) == 1
        assert pending_changes.settled(connection, 100.0, 60.0, 1800.0) == [], "its repository is not made yet"
        assert changes.notice(connection, [update_], None, "", 11.0) == 0
        (one,) = pending_changes.settled(connection, 100.0, 60.0, 1800.0)
    assert one.change == update_


def test_a_database_file_and_its_folder_are_its_owner_s_alone(tmp_path: Path) -> None:
    place = tmp_path / "state" / "rebuilder.db"
    made = database.open_database(f"sqlite:///{place}")
    database.upgrade(made)
    with made.begin() as connection:
        counters.add(connection, {"wave": {"makespan": StoredCounter(1, 2.0)}})
        assert {oct(file.stat().st_mode & 0o777) for file in place.parent.iterdir()} == {"0o600"}
    assert oct(place.parent.stat().st_mode & 0o027) == "0o0"
    made.dispose()


def test_who_reads_sees_one_state_of_the_database_from_the_first_question_to_the_last(store: Engine) -> None:
    with database.reading(store) as connection:
        assert inbox.counts(connection) == {}
        inbox.receive(store, [IncomingMessage("1", "topic", {}, {})])
        assert inbox.counts(connection) == {}
    with store.connect() as connection:
        assert connection.get_isolation_level() == connection.default_isolation_level
        assert inbox.counts(connection) == {"new": 1}


def test_statistics_are_made_of_our_tables_alone_so_that_no_other_database_waits(
    postgres_server: PostgreSQL, postgres_template: str
) -> None:
    """ANALYZE without a name takes those that all databases of a server share, too, and keeps them until the commit."""
    with postgres_server.database(postgres_template) as ours, postgres_server.database(postgres_template) as other:
        engines = [database.open_database(url) for url in (ours, other)]
        with engines[0].begin() as connection, engines[1].begin() as beside:
            refresh_statistics(connection)
            beside.exec_driver_sql("SET LOCAL lock_timeout = 200")
            refresh_statistics(beside)
            seen = connection.scalars(text("SELECT relname FROM pg_stat_user_tables WHERE last_analyze IS NOT NULL"))
            assert {"image", "rebuild"} <= set(seen)
        for engine in engines:
            engine.dispose()
