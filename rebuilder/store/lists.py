"""Lists for whoever looks for something: filtered, newest first (images by name), and cut into pages."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import islice
from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, Row, Select, exists, select

from rebuilder.domain.lifecycle import RebuildRecord
from rebuilder.domain.message import IncomingMessage
from rebuilder.store import changes as stored_changes
from rebuilder.store import filters
from rebuilder.store import rebuilds as stored
from rebuilder.store.changes import StoredChange
from rebuilder.store.filters import Filter, PageRequest
from rebuilder.store.inbox import InboxEntry
from rebuilder.store.models import Action, Change, Image, ImageBuild, Manifest, ManifestRpm, Message, Rebuild, Rpm, Wave
from rebuilder.store.upsert import numbers
from rebuilder.store.waves import WaveEntry, entry_of


class ImageEntry(Struct, frozen=True):
    """An image with its current build; `state` is that of its newest rebuild, empty where it never had one."""

    id: int
    image: str
    present: bool
    source: dict[str, str]
    build: str
    build_id: int | None
    manifest: str
    recorded_at: float | None
    state: str
    measured: float | None


class BuildEntry(Struct, frozen=True):
    """A finished build of an image. `manifest` is the digest of its content, empty where it could not be read."""

    id: int
    image: str
    ident: str
    digest: str
    parents: tuple[str, ...]
    manifest: str
    recorded_at: float
    externals: Mapping[str, str]
    tags: tuple[str, ...]
    rebuild_id: int | None
    wave_id: int | None


class ChangeEntry(Struct, frozen=True):
    """A change with its state (settling, planned or withdrawn) and when it was noticed."""

    noticed: StoredChange
    state: str
    noticed_at: float


class AuditEntry(Struct, frozen=True):
    """What an operator did or asked for; `done_at` is None while the engine has not carried it out."""

    id: int
    at: float
    who: str
    verb: str
    target: str
    reason: str
    done_at: float | None
    answer: str


def waves(
    connection: Connection, criteria: Filter, page: PageRequest, *conditions: ColumnElement[bool]
) -> list[WaveEntry]:
    """Waves, the newest first."""
    query = filters.waves(connection, select(Wave.__table__), criteria)
    query = query.where(*conditions, *filters.after(Wave.id, page))
    return [entry_of(row) for row in connection.execute(query.order_by(Wave.id.desc()).limit(page.limit))]


def rebuilds(
    connection: Connection, criteria: Filter, page: PageRequest, *conditions: ColumnElement[bool]
) -> list[RebuildRecord]:
    """Rebuilds, the newest first."""
    query = filters.rebuilds(connection, stored.selected(), criteria)
    query = query.where(*conditions, *filters.after(Rebuild.id, page))
    return stored.entries(connection, query.order_by(Rebuild.id.desc()).limit(page.limit))


def images(
    connection: Connection, criteria: Filter, page: PageRequest, among: Collection[int] | None = None
) -> list[ImageEntry]:
    """The images of the inventory, by name and stream; only those whose ids are `among` these, where that is given."""
    query = _images_that_fit(connection, criteria).where(*filters.after_name(page)).order_by(Image.name, Image.stream)
    if among is None:
        return [_image(row) for row in connection.execute(query.limit(page.limit))]
    rows = (row for row in connection.execute(query) if row.id in among)
    return [_image(row) for row in islice(rows, page.limit)]


def _images_that_fit(connection: Connection, criteria: Filter) -> Select[Any]:
    named = filters.images(criteria, connection.dialect.name)
    query = _images().where(Image.present, *named, *filters.says(criteria, Image.key))
    if criteria.states:
        query = query.where(Rebuild.state.in_(criteria.states))
    if carried := filters.packages(criteria):
        held = exists().where(ManifestRpm.manifest_id == ImageBuild.manifest_id, ManifestRpm.rpm_id == Rpm.id)
        query = query.where(*(held.where(one) for one in carried))
    return query


def image_names(connection: Connection, criteria: Filter) -> set[str]:
    """All images of the inventory that fit, whatever they are, as name:stream."""
    query = _images_that_fit(connection, criteria).with_only_columns(Image.key)
    return set(connection.scalars(query))


def images_of(connection: Connection, image_ids: Collection[int]) -> dict[int, ImageEntry]:
    """These images, by id."""
    rows = connection.execute(_images().where(Image.id.in_(numbers("these"))), {"these": image_ids})
    return {row.id: _image(row) for row in rows}


def image(connection: Connection, key: str) -> ImageEntry | None:
    """The image of that name, also where it has left the inventory."""
    row = connection.execute(_images().where(Image.named(key))).one_or_none()
    return None if row is None else _image(row)


def _images() -> Select[Any]:
    columns: tuple[Any, ...] = (
        Image.id, Image.key, Image.present, Image.source, ImageBuild.ident, ImageBuild.id,
        Manifest.digest, ImageBuild.recorded_at, Rebuild.state, Image.measured,
    )
    return (
        select(*columns)
        .outerjoin(ImageBuild, ImageBuild.id == Image.current_build_id)
        .outerjoin(Manifest, Manifest.id == ImageBuild.manifest_id)
        .outerjoin(Rebuild, (Rebuild.image_id == Image.id) & ~Rebuild.superseded)
    )


def _image(row: Row[Any]) -> ImageEntry:
    ident, key, present, source, build, build_id, manifest, recorded_at, state, measured = tuple(row)
    return ImageEntry(
        ident, key, present, source, build or "", build_id, manifest or "", recorded_at, state or "",
        measured,
    )


def builds(connection: Connection, criteria: Filter, page: PageRequest) -> list[BuildEntry]:
    """Image builds, the last recorded first."""
    query = _builds().where(*filters.between(ImageBuild.recorded_at, criteria), *filters.after(ImageBuild.id, page))
    query = query.where(*filters.says(criteria, Image.key, ImageBuild.ident))
    named = filters.images(criteria, connection.dialect.name)
    if named:
        query = query.where(ImageBuild.image_id.in_(select(Image.id).where(*named)))
    carrying = select(ManifestRpm.manifest_id).join(Rpm, Rpm.id == ManifestRpm.rpm_id)
    query = query.where(*(ImageBuild.manifest_id.in_(carrying.where(one)) for one in filters.packages(criteria)))
    return _read_builds(connection, query.order_by(ImageBuild.id.desc()).limit(page.limit))


def build(connection: Connection, ident: int) -> BuildEntry | None:
    """The image build of that id."""
    entries = _read_builds(connection, _builds().where(ImageBuild.id == ident))
    return entries[0] if entries else None


def build_before(connection: Connection, entry: BuildEntry) -> BuildEntry | None:
    """The image's build before this one."""
    same = select(ImageBuild.image_id).where(ImageBuild.id == entry.id).scalar_subquery()
    query = _builds().where(ImageBuild.image_id == same, ImageBuild.id < entry.id)
    earlier = _read_builds(connection, query.order_by(ImageBuild.id.desc()).limit(1))
    return earlier[0] if earlier else None


def _builds() -> Select[Any]:
    columns: tuple[Any, ...] = (
        ImageBuild.id, Image.key, ImageBuild.ident, ImageBuild.digest, ImageBuild.parents,
        Manifest.digest, ImageBuild.recorded_at, ImageBuild.externals,
        ImageBuild.tags,
    )
    query = select(*columns)
    query = query.join(Image, Image.id == ImageBuild.image_id)
    return query.outerjoin(Manifest, Manifest.id == ImageBuild.manifest_id)


def _read_builds(connection: Connection, query: Select[Any]) -> list[BuildEntry]:
    rows = connection.execute(query).all()
    made = connection.execute(
        select(Rebuild.build_id, Rebuild.id, Rebuild.wave_id).where(Rebuild.build_id.in_(numbers("these"))),
        {"these": [row[0] for row in rows]},
    ).all()
    by = {build_id: (rebuild_id, wave_id) for build_id, rebuild_id, wave_id in made}
    return [
        BuildEntry(ident, key, called, digest, tuple(parents), manifest or "", at,
                   externals, tuple(tags), *by.get(ident, (None, None)))
        for ident, key, called, digest, parents, manifest, at, externals, tags in rows
    ]


def manifest(connection: Connection, digest: str) -> int | None:
    """The id of the manifest with that digest."""
    return connection.scalar(select(Manifest.id).where(Manifest.digest == digest))


def changes(
    connection: Connection, criteria: Filter, page: PageRequest, *conditions: ColumnElement[bool]
) -> list[ChangeEntry]:
    """Changes, the last noticed first."""
    query = select(Change.__table__).where(*filters.changes(criteria), *filters.between(Change.noticed_at, criteria))
    named = Change.source + "-" + Change.version_release
    query = query.where(*conditions, *filters.says(criteria, named, Change.update, Change.cves))
    if criteria.states:
        query = query.where(stored_changes.in_states(criteria.states))
    if criteria.severities:
        query = query.where(Change.severity.in_(criteria.severities))
    if criteria.stream:
        query = query.where(Change.stream == criteria.stream)
    rows = connection.execute(query.where(*filters.after(Change.id, page)).order_by(Change.id.desc()).limit(page.limit))
    return [_change_entry(row) for row in rows]


def change(connection: Connection, ident: int) -> ChangeEntry | None:
    """The change of that id."""
    row = connection.execute(select(Change.__table__).where(Change.id == ident)).one_or_none()
    return None if row is None else _change_entry(row)


def _change_entry(row: Row[Any]) -> ChangeEntry:
    change = stored_changes.stored_change_of(row)
    return ChangeEntry(change, stored_changes.WITHDRAWN if change.withdrawn else row.state, row.noticed_at)


def messages(
    connection: Connection, criteria: Filter, topic: str, page: PageRequest, *conditions: ColumnElement[bool]
) -> list[InboxEntry]:
    """Messages, the last received first. `topic` is a glob."""
    query = select(Message.__table__).where(*conditions, *filters.between(Message.received_at, criteria))
    query = query.where(*filters.says(criteria, Message.id, Message.topic, Message.reason))
    if criteria.states:
        query = query.where(Message.state.in_(criteria.states))
    if topic:
        query = query.where(filters.glob(Message.topic, topic, connection.dialect.name))
    query = query.where(*filters.after(Message.seq, page)).order_by(Message.seq.desc()).limit(page.limit)
    return [_inbox_entry(row) for row in connection.execute(query)]


def message(connection: Connection, ident: str) -> InboxEntry | None:
    """The message of that id."""
    row = connection.execute(select(Message.__table__).where(Message.id == ident)).one_or_none()
    return None if row is None else _inbox_entry(row)


def _inbox_entry(row: Row[Any]) -> InboxEntry:
    received = IncomingMessage(row.id, row.topic, row.headers, row.body)
    return InboxEntry(row.seq, received, row.received_at, row.state, row.reason)


def audit_entries(
    connection: Connection, criteria: Filter, page: PageRequest, *conditions: ColumnElement[bool]
) -> list[AuditEntry]:
    """What operators did and asked for, the last first."""
    query = select(Action.__table__).where(*conditions, *filters.between(Action.at, criteria))
    query = query.where(*filters.says(criteria, Action.who, Action.verb, Action.target, Action.reason, Action.answer))
    query = query.where(*filters.after(Action.id, page)).order_by(Action.id.desc())
    return [AuditEntry(**row) for row in connection.execute(query.limit(page.limit)).mappings()]


def audit_entry(connection: Connection, ident: int) -> AuditEntry | None:
    """What an operator did or asked for under that number."""
    row = connection.execute(select(Action.__table__).where(Action.id == ident)).mappings().one_or_none()
    return None if row is None else AuditEntry(**row)
