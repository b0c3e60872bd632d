"""The schema of the database, and what it refuses, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from integration.stored import content, count, received, sync
from sqlalchemy import Connection, Engine, delete, insert, inspect, text, update
from sqlalchemy.exc import IntegrityError

from rebuilder.domain.image import Manifest
from rebuilder.domain.lifecycle import LIVE
from rebuilder.domain.rpm import Rpm
from rebuilder.store import database, inbox, inventory, manifests, models, rebuilds, waves

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
