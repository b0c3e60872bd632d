"""What is old goes, a small batch at a time, in an order in which nothing is left that points at what is gone.

Never what is current, or an image's last rebuild, whatever became of it; nothing of an image on hold, nothing that is
to be announced, and nothing that any of this rests on.
"""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, Engine, delete, exists, func, or_, select

from rebuilder.domain.lifecycle import ENDED
from rebuilder.domain.rpm import MODULE
from rebuilder.store import manifests
from rebuilder.store.database import open_database, reading
from rebuilder.store.models import (
    Base,
    BaseCause,
    Cancellation,
    Cause,
    Change,
    DeadLetter,
    Delivery,
    ExternalManifest,
    GateAnswer,
    Hold,
    Image,
    ImageBuild,
    Manifest,
    ManifestRpm,
    Message,
    Outbox,
    ReadManifest,
    Rebuild,
    RebuildEdge,
    Rollback,
    Rpm,
    Transition,
    Verdict,
    Wave,
    WaveChange,
    WavePin,
    aliased,
)

BATCH = 200  # rows in one transaction: some milliseconds
LEAST_REST = 0.02

Conditions = Sequence[ColumnElement[bool]]


class Limits(Struct, frozen=True):
    """What ended, came, was refused or was recorded before these moments is old (seconds since the epoch)."""

    history: float
    messages: float
    notifications: float
    builds: float
    now: float


class _Kind(Struct, frozen=True):
    """Rows of a table that may go, and the columns that point at them from rows that go with them."""

    name: str
    model: type[Base]
    conditions: Callable[[Limits, str], Conditions]
    along: tuple[ColumnElement[int], ...] = ()
    interned: bool = False

    @property
    def key(self) -> ColumnElement[int]:
        (column,) = self.model.__table__.primary_key
        return column


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


def _all_of(access: Access, kind: _Kind, limits: Limits) -> int:
    """Pass after pass, for what went let more go: parents are free once no child of theirs is left."""
    total = 0
    while gone := _one_pass(access, kind, limits):
        total += gone
    return total


def _one_pass(access: Access, kind: _Kind, limits: Limits) -> int:
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


def _delete(connection: Connection, kind: _Kind, limits: Limits, ids: Sequence[int]) -> int:
    """Delete those of the rows that may still go, now that no other transaction can come in between."""
    query = select(kind.key).where(kind.key.in_(ids), *kind.conditions(limits, connection.dialect.name))
    still = list(connection.scalars(query))
    for pointing in kind.along:
        connection.execute(delete(pointing.table).where(pointing.in_(still)))
    if still:
        connection.execute(delete(kind.model).where(kind.key.in_(still)))
    return len(still)


def _held(limits: Limits, image_id: Any) -> ColumnElement[bool]:
    return exists().where(Hold.image_id == image_id, Hold.in_force(limits.now))


def _rebuilds(limits: Limits, _dialect: str) -> Conditions:
    over = exists().where(Wave.id == Rebuild.wave_id, Wave.state == "finished", Wave.finished_at < limits.history)
    return (
        Rebuild.superseded.is_(True),
        Rebuild.state.in_(ENDED),
        func.coalesce(Rebuild.ended_at, Rebuild.created_at) < limits.history,
        over,
        ~_held(limits, Rebuild.image_id),
        ~exists().where(RebuildEdge.parent_id == Rebuild.id),
        ~exists().where(Outbox.rebuild_id == Rebuild.id),
        ~exists().where(Cancellation.rebuild_id == Rebuild.id),
    )


def _waves(limits: Limits, _dialect: str) -> Conditions:
    return (
        Wave.state == "finished",
        Wave.finished_at < limits.history,
        ~exists().where(Rebuild.wave_id == Wave.id),
        ~exists().where(Outbox.wave_id == Wave.id),
    )


def _changes(limits: Limits, _dialect: str) -> Conditions:
    """The newest of a package stays, or it would be new when it is heard of again; so does what a hold may wait for."""
    newer = aliased(Change)
    waiting = select(Image.stream).join(Hold, Hold.image_id == Image.id)
    waiting = waiting.where(Hold.in_force(limits.now))
    return (
        Change.state == "planned",
        Change.noticed_at < limits.history,
        exists().where(
            newer.source == Change.source, newer.stream == Change.stream, newer.id > Change.id,
            newer.withdrawn_at.is_(None),  # else images that lack this one would be said to be current
            newer.version_release.contains(MODULE) == Change.version_release.contains(MODULE),
        ),
        Change.stream.not_in(waiting),
        ~exists().where(Cause.change_id == Change.id),
        ~exists().where(WaveChange.change_id == Change.id),
    )


def _messages(limits: Limits, _dialect: str) -> Conditions:
    return (
        Message.state != "new",
        Message.received_at < limits.messages,
        ~exists().where(Change.message_id == Message.id),
    )


def _builds(limits: Limits, dialect: str) -> Conditions:
    """What a current build was built on stays too."""
    current = aliased(ImageBuild)
    unpack = func.json_each if dialect == "sqlite" else func.json_array_elements_text
    parents = unpack(current.parents).table_valued("value", joins_implicitly=True)
    built_on = select(parents.c.value).join_from(Image, current, current.id == Image.current_build_id)
    return (
        ImageBuild.recorded_at < limits.builds,
        ~exists().where(Image.current_build_id == ImageBuild.id),
        ~exists().where(Rebuild.before_build_id == ImageBuild.id),
        ~exists().where(Rebuild.build_id == ImageBuild.id),
        ~exists().where(Delivery.build_id == ImageBuild.id, Delivery.state.in_(("pending", "waiting"))),
        ~exists().where(Verdict.build_id == ImageBuild.id),
        ~exists().where(or_(Rollback.bad_build_id == ImageBuild.id, Rollback.good_build_id == ImageBuild.id)),
        ~_held(limits, ImageBuild.image_id),
        ImageBuild.ident.not_in(built_on),
    )


def _manifests(_limits: Limits, _dialect: str) -> Conditions:
    return (
        ~exists().where(ImageBuild.manifest_id == Manifest.id),
        ~exists().where(ReadManifest.manifest_id == Manifest.id),
        ~exists().where(ExternalManifest.manifest_id == Manifest.id),
    )


KINDS = (
    _Kind("rebuilds", Rebuild, _rebuilds, (Transition.rebuild_id, Cause.rebuild_id, BaseCause.rebuild_id,
                                         RebuildEdge.rebuild_id, Verdict.rebuild_id)),
    _Kind("waves", Wave, _waves, (WaveChange.wave_id, WavePin.wave_id)),
    _Kind("changes", Change, _changes),
    _Kind("messages", Message, _messages),
    _Kind("answers for gates", GateAnswer, lambda limits, _: (GateAnswer.at < limits.messages,)),
    _Kind("dead letters", DeadLetter, lambda limits, _: (DeadLetter.received_at < limits.messages,)),
    _Kind("refused notifications", Outbox, lambda limits, _: (Outbox.refused_at < limits.notifications,)),
    _Kind("image builds", ImageBuild, _builds, (Delivery.build_id,), interned=True),
    _Kind("manifests", Manifest, _manifests, (ManifestRpm.manifest_id,), interned=True),
    _Kind("RPMs", Rpm, lambda *_: (~exists().where(ManifestRpm.rpm_id == Rpm.id),), interned=True),
)
