"""What every image is: the one query behind badge, lists, overview, `status`, API and metrics.

It reads what is in the current builds and what is available, at the moment at which it is asked: an answer is kept only
for as long as nothing in the database changes. RPMs are compared once each, however many images carry them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from msgspec import Struct, field
from sqlalchemy import Connection, and_, exists, func, select

from rebuilder.domain.currency import NOTHING, Currency, ImageState, Lack, Lacking, Offered, Offers, currency_of
from rebuilder.domain.external import BaseMoved, Wait
from rebuilder.domain.lifecycle import State
from rebuilder.domain.rpm import INSTALLONLY, is_installonly, that_count
from rebuilder.domain.rpm import Rpm as Package
from rebuilder.domain.rpm_streams import NONE, foreigners
from rebuilder.store import bases, changes, coverage, external_waits, holds, installed_packages, inventory, manifests
from rebuilder.store.models import Cause, Change, Hold, Image, ImageBuild, ManifestRpm, Rebuild, Rpm
from rebuilder.store.read_cache import cached, kept
from rebuilder.store.upsert import chunks

FEW = 20  # images: what is in them is read rather than all that is in use
NOT_UPDATED = "not-updated"


def read(
    connection: Connection, now: float, *, installonly: tuple[str, ...] = INSTALLONLY,
    keys: Collection[str] | None = None, wait: Wait = Wait.AUTO, any_digest: bool = False,
) -> Mapping[str, ImageState]:
    """The state of every image of the inventory, or of these, by name, in a handful of queries.

    `wait` says what is done with images whose external parent lacks what they lack. With `any_digest`, one that does
    not stand on the present digest of its external base is stale.
    """
    question = "image states", installonly, wait, frozenset(holds.held(connection, now)), any_digest
    if keys is not None and len(keys) <= inventory.MANY and kept(connection, question) is None:
        return _read(connection, now, installonly, keys, wait, any_digest)
    states = cached(
        connection, question, lambda: MappingProxyType(_read(connection, now, installonly, None, wait, any_digest))
    )
    if keys is None:
        return states
    keys = frozenset(keys)
    return {key: state for key, state in states.items() if key in keys}


def _read(
    connection: Connection, now: float, installonly: tuple[str, ...], keys: Collection[str] | None, wait: Wait,
    any_digest: bool,
) -> dict[str, ImageState]:
    """The same, from the database: beside that, only the holds in force depend on the moment."""
    rows = _images(connection, now, keys)
    moved = bases.moved(connection) if any_digest else {}
    missing = _Missing(connection, rows, installonly).found if rows else {}
    lacking = {ident: lack.changes for ident, lack in missing.items()}
    waits = {**external_waits.read(connection, lacking, wait), **_waits(connection, rows, missing)}
    return {
        row.image: _state(row, missing.get(row.id, NOTHING), waits.get(row.id, ""), moved.get(row.image))
        for row in rows
    }


def counts(states: Iterable[ImageState]) -> dict[Currency, int]:
    """How many images are in each state; every state is there."""
    totals = dict.fromkeys(Currency, 0)
    for one in states:
        totals[one.state] += 1
    return totals


def _state(row: _Known, lack: Lack, waits: str, base: BaseMoved | None) -> ImageState:
    state = currency_of(
        known=row.manifest_id is not None, missing=lack.offered, held=row.who is not None, waits=bool(waits),
        on_old_base=base is not None,
    )  # fmt: skip
    held = f"{row.who}: {row.held_for}" if row.held_for else row.who or ""
    why = held if state is Currency.HELD else waits if state is Currency.WAITING else ""
    return ImageState(row.image, row.id, state, lack, why, row.last or "", base, row.manifest_id is not None)


class _Known(Struct, frozen=True):
    """An image with what is known of it: its current manifest, its hold and its newest rebuild."""

    id: int
    image: str
    stream: str
    manifest_id: int | None
    who: str | None
    held_for: str | None
    rebuild_id: int | None
    last: str | None
    reason: str | None


def _images(connection: Connection, now: float, keys: Collection[str] | None) -> list[_Known]:
    """The images with what is known of each: its current manifest, its hold and its newest rebuild."""
    in_force = and_(Hold.image_id == Image.id, Hold.in_force(now))
    columns: tuple[Any, ...] = (
        Image.id, Image.key.label("image"), Image.stream, ImageBuild.manifest_id,
        Hold.who, Hold.reason.label("held_for"), Rebuild.id.label("rebuild_id"), Rebuild.state.label("last"),
        Rebuild.reason,
    )
    query = (
        select(*columns)
        .outerjoin(ImageBuild, ImageBuild.id == Image.current_build_id)
        .outerjoin(Hold, in_force)
        .outerjoin(Rebuild, and_(Rebuild.image_id == Image.id, ~Rebuild.superseded))
        .where(Image.present)
        .order_by(Image.name, Image.stream)
    )
    if keys is not None:
        query = query.where(Image.maybe_named(keys))
    rows = [_Known(*row) for row in connection.execute(query).all()]
    return [row for row in rows if row.image in keys] if keys is not None else rows


class _Missing(Struct):
    """What each image lacks, by the image's id; images that lack nothing are not there."""

    connection: Connection
    rows: list[_Known]
    installonly: tuple[str, ...]
    found: dict[int, Lack] = field(default_factory=dict)

    def __post_init__(self) -> None:
        few = self._few()
        offers = Offers(_offered(self.connection, few))
        rpms = _rpms(self.connection, offers.sources, few)
        lacking = {ident: offered for ident, rpm in rpms.items() if (offered := offers.lacking(rpm))}
        if lacking:
            carried = manifests.carrying(self.connection, list(lacking), few)
            close = self._to_look_at_closely(carried, rpms)
            self._compare([row for row in self.rows if row.id not in close], carried, lacking)
            rows = [row for row in self.rows if row.id in close]
            self._look_closely(rows, _sources_in(rows, carried, rpms), offers)

    def _few(self) -> set[int] | None:
        """The manifests that are looked into, where they are few; None where all that is in use is."""
        few = len(self.rows) <= FEW
        return {row.manifest_id for row in self.rows if row.manifest_id is not None} if few else None

    def _compare(
        self, rows: Iterable[_Known], carried: Mapping[int, tuple[int, ...]], lacking: Mapping[int, Lacking]
    ) -> None:
        """An image lacks all that its RPMs lack in its stream. Most images have what others have."""
        alike: dict[tuple[str, tuple[int, ...]], Lack] = {}
        for row in rows:
            rpm_ids = carried.get(row.manifest_id) if row.manifest_id is not None else None
            if rpm_ids is None:
                continue
            same = row.stream, rpm_ids
            if same not in alike:
                alike[same] = _lack(lacking[rpm_id].get(row.stream, ()) for rpm_id in rpm_ids)
            self._keep(row.id, alike[same])

    def _keep(self, image_id: int, lack: Lack) -> None:
        if lack.offered:
            self.found[image_id] = lack

    def _to_look_at_closely(
        self, carried: Mapping[int, tuple[int, ...]], rpms: Mapping[int, Package]
    ) -> set[int]:
        """The images of which an older RPM is not all there is to say.

        One may be built on images of another stream, and have RPMs of that; or it may have a newer one beside.
        """
        crossing = {child for child, _ in coverage.crossed_streams(self.connection)}
        beside = {ident for ident, rpm in rpms.items() if is_installonly(rpm.name, self.installonly)}
        if not crossing and not beside:
            return set()
        having = _with_any(carried, beside)
        return {
            row.id
            for row in self.rows
            if row.manifest_id in having or (row.stream in crossing and row.manifest_id in carried)
        }

    def _look_closely(self, rows: Collection[_Known], sources: Collection[str], offers: Offers) -> None:
        if not rows:
            return
        carried = installed_packages.carried(self.connection, sources).rpms
        foreign = foreigners(inventory.subgraph(self.connection, carried), carried)
        lacking: dict[Package, Lacking] = {}
        for row in rows:
            of = foreign.get(row.image, NONE)
            missing = []
            for rpm in that_count(carried[row.image], self.installonly):
                if rpm not in lacking:
                    lacking[rpm] = offers.lacking(rpm)
                missing.append(lacking[rpm].get(of.get(rpm, row.stream), ()))
            self._keep(row.id, _lack(missing))


def _sources_in(
    rows: Iterable[_Known], carried: Mapping[int, tuple[int, ...]], rpms: Mapping[int, Package]
) -> set[str]:
    """The source packages of what these images carry."""
    manifest_ids = {row.manifest_id for row in rows if row.manifest_id is not None}
    return {rpms[ident].source for manifest_id in manifest_ids for ident in carried[manifest_id]}


def _with_any(carried: Mapping[int, tuple[int, ...]], rpm_ids: Collection[int]) -> set[int]:
    """The manifests that have one of these RPMs."""
    rpm_ids = frozenset(rpm_ids)
    return {manifest_id for manifest_id, ids in carried.items() if not rpm_ids.isdisjoint(ids)}


def _lack(missing: Iterable[tuple[Offered, ...]]) -> Lack:
    offers = {offered.id: offered for one in missing for offered in one}
    return Lack(tuple(sorted(offers.values(), key=lambda offered: (offered.since, offered.id)))) if offers else NOTHING


def _offered(connection: Connection, manifest_ids: Collection[int] | None) -> list[Offered]:
    """All that is available of packages that are in the images; of those that are in these manifests, where few are."""
    query = select(Change.__table__).where(Change.withdrawn_at.is_(None))
    if manifest_ids is None:
        query = query.where(exists().where(Rpm.source == Change.source))
    else:
        query = query.where(Change.source.in_(
            select(Rpm.source)
            .join(ManifestRpm, ManifestRpm.rpm_id == Rpm.id)
            .where(ManifestRpm.manifest_id.in_(manifest_ids))
        ))  # fmt: skip
    rows = connection.execute(query.order_by(Change.id)).all()
    return [Offered(row.id, changes.value_of(row), row.noticed_at) for row in rows]


def _rpms(
    connection: Connection, sources: Collection[str], manifest_ids: Collection[int] | None
) -> Mapping[int, Package]:
    """The RPMs of these source packages, by id; of these manifests alone, where few are asked for."""
    if manifest_ids is None:
        return installed_packages.rpms_from(connection, sources)
    query = select(Rpm.id, *manifests.FIELDS).join(ManifestRpm, ManifestRpm.rpm_id == Rpm.id)
    query = query.where(ManifestRpm.manifest_id.in_(manifest_ids)).distinct()
    rpms = {row[0]: Package(*row[1:]) for row in connection.execute(query)}
    return {ident: rpm for ident, rpm in rpms.items() if rpm.source in sources}


def _waits(
    connection: Connection, rows: Iterable[_Known], missing: Mapping[int, Lack]
) -> dict[int, str]:
    """The images that were built for all that they lack, and lack it still, as a parent of somebody else's has it."""
    tried = {
        row.rebuild_id: row.id
        for row in rows
        if row.rebuild_id and row.id in missing and row.last == State.FAILED
        and row.reason and row.reason.startswith(NOT_UPDATED)
    }
    waits = {}
    for rebuild_id, parents in _external_causes(connection, list(tried)).items():
        image_id = tried[rebuild_id]
        if all(offered.id in parents for offered in missing[image_id].offered):
            waits[image_id] = f"{', '.join(sorted(set(parents.values())))}, which others build"
    return waits


def _external_causes(connection: Connection, rebuild_ids: list[int]) -> dict[int, dict[int, str]]:
    """For each rebuild the changes of which every RPM comes from an external parent, each with that."""
    causes: dict[int, dict[int, str]] = {}
    grouped = select(Cause.rebuild_id, Cause.change_id, func.min(Cause.external)).group_by(
        Cause.rebuild_id, Cause.change_id
    )
    for part in chunks(rebuild_ids, inventory.MANY):
        for rebuild_id, change_id, external in connection.execute(grouped.where(Cause.rebuild_id.in_(part))):
            if external:
                causes.setdefault(rebuild_id, {})[change_id] = external
    return causes
