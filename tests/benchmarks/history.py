"""A long history, made fast: waves of a thousand rebuilds each, all finished, and one that is under way."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, Engine, Row, select, text

from rebuilder.domain.image import Image, ImageBuild, Inventory, Manifest, Parent, ParentKind, Stream
from rebuilder.domain.rpm import Rpm
from rebuilder.store import counters, models
from rebuilder.store.counters import StoredCounter
from rebuilder.store.models import Base
from rebuilder.store.sync import save_inventory
from rebuilder.store.timeouts import unlimited
from rebuilder.store.upsert import chunks, load, refresh_statistics

WAVE = 1000
IMAGES = 5 * WAVE
STREAM = Stream("f42", (".fc42",))
STEPS = ("planned", "parents-done", "dispatched", "accepted", "built")
STATES = ("waiting", "queued", "submitting", "building", "succeeded")
SECONDS, FAILED = 60.0, 31  # of a build; every so many rebuilds failed
FILLED = ["image_build", "rebuild", "cause", "rebuild_edge", "transition"]
CONSTRAINTS = """
    SELECT conrelid::regclass::text, quote_ident(conname), pg_get_constraintdef(oid) FROM pg_constraint
    WHERE strpos(:kinds, contype::text) > 0
    AND (conrelid = ANY(CAST(:tables AS regclass[])) OR confrelid = ANY(CAST(:tables AS regclass[])))
"""
INDEXES = "SELECT quote_ident(indexname), indexdef FROM pg_indexes WHERE tablename = ANY(:tables)"


def make(engine: Engine, rebuilds: int = 1_000_000) -> int:
    """Fill an empty database with that many finished rebuilds; the number of the wave that is under way."""
    with engine.begin() as connection:
        save_inventory(connection, _inventory(), 0.0)
        images = list(connection.scalars(select(models.Image.id).order_by(models.Image.id)))
        manifest = connection.scalar(select(models.Manifest.id).limit(1))
        assert manifest is not None
        count = rebuilds // WAVE
        began = time.time() - (count + 1) * WAVE
        _waves(connection, count, began)
        first = (connection.scalar(select(models.ImageBuild.id).order_by(models.ImageBuild.id.desc())) or 0) + 1
        with _indexed_afterwards(connection):
            for part in chunks(range(count * WAVE), 50_000):
                _rebuilds(connection, part, images, History(first, manifest, began, count * WAVE))
        _running(connection, count, images, began)
        counters.add(connection, {"step": {event: StoredCounter(count * WAVE) for event in STEPS}})
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
            for name in ("wave", "change", "rebuild", "image_build", "transition"):
                connection.exec_driver_sql(f"SELECT setval('{name}_id_seq', (SELECT max(id) FROM {name}))")
    else:
        with engine.begin() as connection:
            refresh_statistics(connection)
    return count + 1


@contextmanager
def _indexed_afterwards(connection: Connection) -> Iterator[None]:
    """PostgreSQL takes several times as long to fill tables that have their indexes and constraints already."""
    if connection.dialect.name != "postgresql":
        yield
        return
    with unlimited(connection):
        references = _dropped(connection, "f")
        keys = _dropped(connection, "pu")
        indexes = connection.execute(text(INDEXES), {"tables": FILLED}).all()
        for name, _ in indexes:
            connection.exec_driver_sql(f"DROP INDEX {name}")
        yield
        for _, definition in indexes:
            connection.exec_driver_sql(definition)
        for table, name, definition in [*keys, *references]:
            connection.exec_driver_sql(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")


def _dropped(connection: Connection, kinds: str) -> Sequence[Row[Any]]:
    """The constraints of these kinds on the tables, or that lead to them, which are there no more."""
    found = connection.execute(text(CONSTRAINTS), {"kinds": kinds, "tables": FILLED}).all()
    for table, name, _ in found:
        connection.exec_driver_sql(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    return found


def _inventory() -> Inventory:
    """Images in a tree in which each has ten children, all with the same packages."""
    rpms = Manifest.of(
        [Rpm("openssl-libs", 1, "3.2.1", "1.fc42", "x86_64", "openssl"),
         *(Rpm(f"package{at}", 0, "1.0", "1.fc42", "x86_64", f"package{at}") for at in range(200))]
    )  # fmt: skip
    images = tuple(
        Image(f"image{at}", "f42", (Parent(ParentKind.BASE, f"image{(at - 1) // 10}:f42"),) if at else ())
        for at in range(IMAGES)
    )
    return Inventory(images, (STREAM,), tuple(ImageBuild(image.key, f"{image.name}-first", rpms) for image in images))


def _fill(connection: Connection, model: type[Base], rows: Iterator[dict[str, Any]] | Sequence[dict[str, Any]]) -> None:
    """Insert these rows, which all have the same columns."""
    found = list(rows)
    if found:
        load(connection, model, list(found[0]), [tuple(row.values()) for row in found])


def _waves(connection: Connection, count: int, began: float) -> None:
    _fill(connection, models.Wave, (
        {"id": at, "created_at": began + at * WAVE, "finished_at": began + (at + 1) * WAVE if at <= count else None,
         "state": "finished" if at <= count else "running"}
        for at in range(1, count + 2)
    ))
    _fill(connection, models.Change, (
        {"id": at, "source": "openssl", "epoch": 1, "version_release": f"3.2.{at}-1.fc42", "stream": "f42",
         "severity": "high" if at % 10 else "urgent", '"update"': f"FEDORA-{at}", "url": "", "type": "security",
         "noticed_at": began + at * WAVE, "state": "planned"}
        for at in range(1, count + 2)
    ))
    _fill(connection, models.WaveChange, ({"wave_id": at, "change_id": at} for at in range(1, count + 2)))


class History(Struct, frozen=True):
    """The id of the first build and that of all builds' manifest, when it began, and how many rebuilds ended in it."""

    first: int
    manifest: int
    began: float
    last: int


def _rebuilds(connection: Connection, places: Sequence[int], images: Sequence[int], of: History) -> None:
    """The finished rebuilds of these places, with their builds, causes and stories."""
    _fill(connection, models.ImageBuild, (
        {"id": of.first + at, "image_id": images[at % IMAGES], "ident": f"build-{at}", "digest": "", "parents": "[]",
         "manifest_id": of.manifest, "recorded_at": of.began + at}
        for at in places
    ))
    _fill(connection, models.Rebuild, (
        {"id": at + 1, "wave_id": at // WAVE + 1, "image_id": images[at % IMAGES],
         "state": "succeeded" if at % FAILED else "failed", "severity": "high", "level": min(at % WAVE, 3),
         "rank": of.began + at, "attempt": 1, "key": f"image-{at}", "ref": f"{at}", "log": "",
         "reason": "" if at % FAILED else "the build failed", "created_at": of.began + at,
         "started_at": of.began + at, "ended_at": of.began + at + SECONDS, "build_id": of.first + at,
         "superseded": at < of.last - IMAGES or at % IMAGES < WAVE}  # the last wave rebuilds the first
        for at in places
    ))
    _fill(connection, models.Cause, (
        {"rebuild_id": at + 1, "change_id": at // WAVE + 1, "installed": "openssl-libs-1:3.2.1-1.fc42.x86_64",
         "inherited_from": ""}
        for at in places
    ))
    _fill(connection, models.RebuildEdge, (
        {"rebuild_id": at + 1, "parent_id": at - at % WAVE + (at % WAVE - 1) // 10 + 1} for at in places if at % WAVE
    ))
    _fill(connection, models.Transition, (
        {"id": at * len(STEPS) + step + 1, "rebuild_id": at + 1, "at": of.began + at + step, "event": STEPS[step],
         "state": STATES[step], "reason": ""}
        for at in places for step in range(len(STEPS))
    ))


def _running(connection: Connection, count: int, images: Sequence[int], began: float) -> None:
    """A wave of a thousand of which a part is done."""
    done, building, queued = WAVE // 4, WAVE // 4 + 20, WAVE // 4 + 100
    base = count * WAVE
    states = ["succeeded" if at < done else "building" if at < building else "queued" if at < queued else "waiting"
              for at in range(WAVE)]
    _fill(connection, models.Rebuild, (
        {"id": base + at + 1, "wave_id": count + 1, "image_id": images[at], "state": states[at], "severity": "high",
         "level": len(str(at)), "rank": began + base + at, "attempt": int(at < building), "key": f"image-{base + at}",
         "ref": f"{base + at}" if at < building else "", "log": "", "reason": "", "created_at": began + base,
         "started_at": began + base + at if at < building else None,
         "ended_at": began + base + at + SECONDS if at < done else None}
        for at in range(WAVE)
    ))
    _fill(connection, models.Cause, (
        {"rebuild_id": base + at + 1, "change_id": count + 1, "installed": "openssl-libs-1:3.2.1-1.fc42.x86_64",
         "inherited_from": "" if not at else "image0:f42"}
        for at in range(WAVE)
    ))
    _fill(connection, models.RebuildEdge, (
        {"rebuild_id": base + at + 1, "parent_id": base + (at - 1) // 10 + 1} for at in range(1, WAVE)
    ))
    _fill(connection, models.Transition, (
        {"id": base * len(STEPS) + at + 1, "rebuild_id": base + at + 1, "at": began + base, "event": "planned",
         "state": "waiting", "reason": ""}
        for at in range(WAVE)
    ))
