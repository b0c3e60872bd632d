"""What the database keeps, and what it refuses, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, delete, event, func, insert, inspect, select, text, update
from sqlalchemy.exc import IntegrityError
from support.servers import PostgreSQL

from rebuilder.domain.change import Change, Severity
from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import (
    LONGEST_NAME,
    LONGEST_SPEC,
    Image,
    ImageBuild,
    Inventory,
    Manifest,
    Parent,
    ParentKind,
    Source,
    Stream,
)
from rebuilder.domain.lifecycle import LIVE
from rebuilder.domain.message import IncomingMessage
from rebuilder.domain.rpm import LONGEST, Rpm, SourceBuild
from rebuilder.store import (
    attention_order,
    build_durations,
    changes,
    counters,
    database,
    inbox,
    installed_packages,
    inventory,
    manifests,
    models,
    open_rebuilds,
    pending_changes,
    rebuild_dependencies,
    rebuild_progress,
    rebuilds,
    waves,
)
from rebuilder.store.counters import StoredCounter
from rebuilder.store.sync import SyncResult, record_builds, save_inventory
from rebuilder.store.upsert import refresh_statistics

BASH, LIBS = "bash-5.2.37-1.fc42.x86_64", "openssl-libs-1:3.2.1-1.fc42.x86_64"


def manifest(*nevras: str) -> Manifest:
    return Manifest.of(Rpm.parse(nevra, "openssl" if "openssl" in nevra else "") for nevra in nevras)


def image(name: str, *parents: str, path: str = "") -> Image:
    above = tuple(Parent(ParentKind.BASE, parent) for parent in parents)
    return Image(name, "f42", above, Source(path=path))


def build(name: str, *nevras: str, ident: str = "1") -> ImageBuild:
    return ImageBuild(f"{name}:f42", ident, manifest(*nevras))


BASE, HTTPD = image("base"), image("httpd", "base:f42")
BUILDS = (build("base", BASH), build("httpd", BASH, LIBS))


def sync(
    store: Engine, images: Sequence[Image] = (BASE, HTTPD), builds: Sequence[ImageBuild] = BUILDS
) -> SyncResult:
    with store.begin() as connection:
        return save_inventory(connection, Inventory(tuple(images), (Stream("f42", (".fc42",)),), tuple(builds)), 1.0)


def count(store: Engine, model: type[models.Base]) -> int:
    with database.reading(store) as connection:
        return connection.scalar(select(func.count()).select_from(model)) or 0


def content(store: Engine) -> dict[str, list[Any]]:
    """Every row of every table."""
    with database.reading(store) as connection:
        tables = models.Base.metadata.tables.values()
        return {table.name: sorted(map(repr, connection.execute(select(table)))) for table in tables}


# --- the schema


def test_the_models_and_the_migrations_agree(store: Engine) -> None:
    with store.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), models.tables_of(store.dialect.name)) == []
        assert database.revision(store) == database.HEAD


def test_an_upgrade_from_the_first_version_keeps_every_row(database_url: str) -> None:
    engine = database.open_database(database_url)
    config = Config()
    config.set_main_option("script_location", str(database.MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for statement in (
            "INSERT INTO image (id, name, stream, source, pull_spec, estimate, present) "
            "VALUES (1, 'a', 'f42', '{}', '', 0, true)",
            "INSERT INTO change (id, source, version_release, stream, severity, \"update\", url, type, noticed_at, "
            "state) VALUES (7, 'x', '1-1', 'f42', 'low', '', '', '', 0, 'planned')",
            "INSERT INTO wave (id, created_at, state) VALUES (3, 1, 'running')",
            "INSERT INTO rebuild (id, wave_id, image_id, state, severity, level, rank, key, created_at) "
            "VALUES (5, 3, 1, 'queued', 'low', 0, 0, 'k', 1)",
            "INSERT INTO cause (rebuild_id, change_id, installed, inherited_from) VALUES (5, 7, 'x-0-1.noarch', '')",
            "INSERT INTO manifest (id, digest) VALUES (4, 'd')",
            "INSERT INTO rpm (id, name, epoch, version, release, arch, source, source_evr) "
            "VALUES (2, 'x', 0, '0', '1', 'noarch', 'x', '')",
            "INSERT INTO manifest_rpm (rpm_id, manifest_id) VALUES (2, 4)",
        ):
            connection.execute(text(statement))
    database.upgrade(engine)
    with database.reading(engine) as connection:
        assert [entry.state for entry in rebuilds.of_wave(connection, 3)] == ["queued"]
        assert [item.id for item in waves.changes_of(connection, 3)] == [7]
        assert manifests.read(connection, [4]) == {4: Manifest.of([Rpm("x", 0, "0", "1", "noarch", "x")])}
        assert database.revision(engine) == database.HEAD
    with engine.connect() as connection, pytest.raises(IntegrityError):
        connection.execute(text("INSERT INTO wave_change VALUES (99, 7)"))


def test_the_database_has_every_constraint_and_index_of_the_models(store: Engine) -> None:
    """compare_metadata looks neither at CHECKs nor at the conditions of partial indexes."""
    found = inspect(store)
    for table in models.tables_of(store.dialect.name).tables.values():
        wanted = {c.name for c in table.constraints if c.name and str(c.name).startswith("ck_")}
        assert {check["name"] for check in found.get_check_constraints(table.name)} == wanted
        indexes = {index["name"]: index for index in found.get_indexes(table.name)}
        for index in table.indexes:
            where = index.dialect_options[store.dialect.name].get("where")
            told = indexes[index.name].get("dialect_options", {}).get(f"{store.dialect.name}_where")
            assert (told is None) == (where is None), index.name


def test_upgrading_once_more_changes_nothing(store: Engine) -> None:
    before = content(store)
    database.upgrade(store)
    assert content(store) == before


# --- messages


def test_what_is_in_an_image_now_is_read_with_one_statement(store: Engine) -> None:
    known = [build("full", "a-1-1.x86_64", "b-1-1.x86_64"), build("empty"), ImageBuild("unread:f42", "1")]
    sync(store, [image(name) for name in ("full", "empty", "unread", "new")], known)
    statements: list[str] = []
    event.listen(store, "before_cursor_execute", lambda *told: statements.append(told[2]))
    with store.connect() as connection:
        found = {n: manifests.current(connection, f"{n}:f42") for n in ("full", "empty", "unread", "new", "none")}
    assert len([said for said in statements if said.startswith("SELECT")]) == len(found)
    assert found == {
        "full": manifest("a-1-1.x86_64", "b-1-1.x86_64"), "empty": manifest(), "unread": None, "new": None, "none": None
    }  # fmt: skip


def received(ident: str, body: Any = None) -> IncomingMessage:
    return IncomingMessage(ident, "org.example.buildsys.tag", {"sent-at": "now"}, body)


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


# --- what the database refuses


@contextmanager
def refused(store: Engine) -> Iterator[Connection]:
    """A transaction that the database refuses."""
    with pytest.raises(IntegrityError), store.begin() as connection:
        yield connection


def add(connection: Connection, state: str, key: str) -> None:
    """A rebuild of base in a wave of its own."""
    wave = connection.execute(insert(models.Wave).values(created_at=1.0, state="running").returning(models.Wave.id))
    row = {
        "wave_id": wave.scalar_one(), "image_id": inventory.ids(connection)["base:f42"], "state": state,
        "severity": "low", "level": 0, "rank": 0.0, "key": key, "created_at": 1.0,
    }  # fmt: skip
    connection.execute(insert(models.Rebuild).values(row))


@pytest.fixture
def filled(store: Engine) -> Engine:
    """A database with two images."""
    sync(store)
    return store


def test_there_is_at_most_one_live_build_of_an_image(filled: Engine) -> None:
    for first, second in product(sorted(LIVE), repeat=2):
        with filled.begin() as connection:
            connection.execute(delete(models.Rebuild))
            add(connection, first, "one")
        with refused(filled) as connection:
            add(connection, second, "two")


def test_a_rebuild_that_becomes_live_counts_too(filled: Engine) -> None:
    with filled.begin() as connection:
        add(connection, "building", "one")
        add(connection, "queued", "two")
    with refused(filled) as connection:
        connection.execute(update(models.Rebuild).where(models.Rebuild.key == "two").values(state="submitting"))


def test_at_most_one_rebuild_of_an_image_waits(filled: Engine) -> None:
    with filled.begin() as connection:
        add(connection, "queued", "one")
    with refused(filled) as connection:
        add(connection, "waiting", "two")


def test_any_number_of_builds_may_have_ended(filled: Engine) -> None:
    with filled.begin() as connection:
        for key in ("one", "two", "three"):
            add(connection, "succeeded", key)
    assert count(filled, models.Rebuild) == 3


def test_a_builder_s_key_is_never_given_twice(filled: Engine) -> None:
    with filled.begin() as connection:
        add(connection, "failed", "one")
    with refused(filled) as connection:
        add(connection, "queued", "one")


def test_an_unknown_state_is_refused(filled: Engine) -> None:
    inbox.receive(filled, [received("a")])
    with refused(filled) as connection:
        add(connection, "pondering", "one")
    with refused(filled) as connection:
        connection.execute(update(models.Message).values(state="lost"))
    with refused(filled) as connection:
        connection.execute(insert(models.Wave).values(created_at=1.0, state="rolling"))


def test_foreign_keys_are_enforced(filled: Engine) -> None:
    with refused(filled) as connection:
        connection.execute(update(models.Image).values(current_build_id=4711))
    with refused(filled) as connection:
        connection.execute(update(models.ImageBuild).values(manifest_id=4711))
    with refused(filled) as connection:
        connection.execute(delete(models.Manifest))


# --- the inventory


def test_a_sync_says_what_changed_and_a_second_one_changes_nothing(store: Engine) -> None:
    assert sync(store) == SyncResult(("base:f42", "httpd:f42"), (), (), (), 0)
    before = content(store)
    assert sync(store) == SyncResult((), (), (), (), 2)
    assert content(store) == before
    moved, tools = image("httpd", path="elsewhere"), image("tools", "httpd:f42")
    told = sync(store, (moved, tools), (build("httpd", BASH, ident="2"),))
    assert told == SyncResult(("tools:f42",), ("httpd:f42",), ("base:f42",), ("httpd:f42",), 0)
    with database.reading(store) as connection:
        assert inventory.load(connection).images == (moved, tools)


def test_a_sync_is_all_or_nothing(store: Engine) -> None:
    sync(store)
    before = content(store)
    cycle = (image("base", "app:f42"), image("app", "base:f42"))
    for images, builds in ((cycle, ()), ((BASE, image("new")), (build("ghost", BASH),))):
        with pytest.raises((RequestError, KeyError)):
            sync(store, images, builds)
        assert content(store) == before


def test_an_image_that_left_and_came_back_is_the_same_image(store: Engine) -> None:
    sync(store)
    with database.reading(store) as connection:
        ids = inventory.ids(connection)
    assert sync(store, (BASE,), BUILDS[:1]).removed == ("httpd:f42",)
    with database.reading(store) as connection:
        assert list(inventory.load(connection).ordered()) == ["base:f42"]
        assert set(installed_packages.carried(connection, ["openssl"]).rpms) == set()
    assert sync(store).added == ("httpd:f42",)
    with database.reading(store) as connection:
        assert inventory.ids(connection) == ids
        assert inventory.load(connection).images == (BASE, HTTPD)
        assert set(installed_packages.carried(connection, ["openssl"]).rpms) == {"httpd:f42"}
    assert sync(store).unchanged == 2


def test_a_manifest_and_an_rpm_are_kept_once(store: Engine) -> None:
    sync(store, (BASE, HTTPD, image("same")), (*BUILDS, build("same", LIBS, BASH)))
    assert count(store, models.Manifest) == 2
    assert count(store, models.Rpm) == 2
    sync(store, (BASE,), (build("base", LIBS, BASH, ident="2"),))
    assert (count(store, models.Manifest), count(store, models.ImageBuild)) == (2, 4)


def test_a_manifest_is_read_as_it_was_written(store: Engine) -> None:
    perl = Rpm.parse("perl-Errno-1.38-512.fc42.x86_64", "perl-5.40.0-512.fc42.src.rpm")
    contents = [manifest(), manifest(BASH), Manifest.of([perl, *manifest(LIBS).rpms])]
    with store.begin() as connection:
        ids = manifests.intern(connection, contents)
        assert manifests.intern(connection, contents) == ids
        assert set(manifests.read(connection, ids.values()).values()) == set(contents)


def test_only_current_builds_carry(store: Engine) -> None:
    sync(store)
    newer = LIBS.replace("3.2.1", "3.2.2")
    with store.begin() as connection:
        ids = inventory.ids(connection)
        record_builds(connection, [build("httpd", BASH, newer, ident="2")], ids, 2.0)
        carried = installed_packages.carried(connection, ["openssl"])
        assert [rpm.nevra for rpm in carried.rpms["httpd:f42"]] == [newer]
        record_builds(connection, [build("httpd", BASH, ident="3")], ids, 3.0)
        assert installed_packages.carried(connection, ["openssl"]).rpms == {}
        assert set(installed_packages.carried(connection, ["bash", "openssl"]).rpms) == {"base:f42", "httpd:f42"}


def test_images_that_nobody_could_read_are_unknown_until_somebody_can(store: Engine) -> None:
    sync(store, (BASE, HTTPD), (ImageBuild("base:f42", "1", None),))
    with database.reading(store) as connection:
        assert installed_packages.carried(connection, ["bash"]).unknown == {"base:f42", "httpd:f42"}
    sync(store)
    with database.reading(store) as connection:
        assert installed_packages.carried(connection, ["bash"]).unknown == frozenset()


def searched(url: str, call: Callable[[Connection], object]) -> list[str]:
    """How SQLite goes about the last thing that the call asks: the steps that touch rebuilds."""
    engine = database.open_database(url)
    database.upgrade(engine)
    asked: list[tuple[str, Any]] = []
    event.listen(engine, "before_cursor_execute", lambda _c, _u, query, values, *_: asked.append((query, values)))
    with engine.begin() as connection:
        call(connection)
    query, values = asked[-1]
    with engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", values).all()
    return [step[-1] for step in plan if "rebuild" in step[-1]]


@pytest.mark.parametrize("call", [
    rebuilds.any_stopped, rebuilds.unsettled, lambda connection: open_rebuilds.stopped(connection, 10),
    lambda connection: rebuild_progress.unsettled(connection, {"base:f42"}),
    lambda connection: connection.execute(select(models.Rebuild.id).where(attention_order.REBUILDS)).all(),
])  # fmt: skip
def test_the_last_rebuilds_of_images_are_not_looked_for_among_all_that_ever_ended_so(
    sqlite_url: str, call: Callable[[Connection], object]
) -> None:
    steps = searched(sqlite_url, call)
    assert any("ix_rebuild_newest" in step or "ix_rebuild_current" in step for step in steps), steps
    assert not any("(state=?" in step for step in steps), steps


def test_what_an_image_s_builds_take_is_found_by_the_image_and_not_in_all_of_history(sqlite_url: str) -> None:
    steps = searched(sqlite_url, lambda connection: build_durations.measure(connection, [1, 2]))  # there are none yet
    assert len(steps) == 2, steps
    assert any("ix_rebuild_image (image_id=? AND id>?)" in step for step in steps), steps
    assert all("ix_rebuild_image (image_id=?" in step for step in steps), steps


def test_what_a_build_left_behind_is_found_by_its_image_and_not_in_all_that_is_blocked(sqlite_url: str) -> None:
    steps = searched(sqlite_url, lambda connection: rebuild_dependencies.blocked_by_superseded(connection, [1, 2]))
    assert any("ix_rebuild_image (image_id=? AND id<?)" in step for step in steps), steps
    assert not any("state=?" in step for step in steps), steps


def test_a_database_file_and_its_folder_are_its_owner_s_alone(tmp_path: Path) -> None:
    place = tmp_path / "state" / "rebuilder.db"
    made = database.open_database(f"sqlite:///{place}")
    database.upgrade(made)
    with made.begin() as connection:
        counters.add(connection, {"wave": {"makespan": StoredCounter(1, 2.0)}})
        assert {oct(file.stat().st_mode & 0o777) for file in place.parent.iterdir()} == {"0o600"}
    assert oct(place.parent.stat().st_mode & 0o027) == "0o0"
    made.dispose()


def test_the_store_keeps_all_dist_tags(store: Engine) -> None:
    streams = (Stream("a", (".el9", ".el10*")), Stream("b"))
    with store.begin() as connection:
        save_inventory(connection, Inventory((Image("x", "a"), Image("x", "b")), streams), 1.0)
    with database.reading(store) as connection:
        assert inventory.streams(connection) == streams


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


def test_the_longest_texts_that_are_read_are_kept(store: Engine) -> None:
    wide = "\U0001d538"  # four bytes
    name, stream, spec = wide * LONGEST_NAME, wide * LONGEST_NAME, wide * LONGEST_SPEC
    rpm = Rpm.parse(f"{wide * (LONGEST - 4)}-1-1.noarch", wide * LONGEST)
    images = (Image(name, stream, (Parent(ParentKind.BASE, external=spec),)),)
    builds = (ImageBuild(f"{name}:{stream}", wide * LONGEST_NAME, Manifest.of([rpm])),)
    with store.begin() as connection:
        save_inventory(connection, Inventory(images, (), builds), 1.0)
    with store.connect() as connection:
        assert inventory.find(connection, [f"{name}:{stream}"]).keys() == {f"{name}:{stream}"}
