"""Manifests and RPMs, each kept once however many builds have them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from sqlalchemy import Connection, bindparam, delete, func, insert, select

from rebuilder.domain.image import Manifest as Content
from rebuilder.domain.image_name import ImageName
from rebuilder.domain.rpm import Rpm as Package
from rebuilder.store.models import Image, ImageBuild, Manifest, ManifestRpm, ReadManifest, Rpm
from rebuilder.store.upsert import chunks, insert_new, load

FIELDS = (Rpm.name, Rpm.epoch, Rpm.version, Rpm.release, Rpm.arch, Rpm.source, Rpm.source_evr)
_KNOWN = select(Manifest.digest, Manifest.id).where(Manifest.digest.in_(bindparam("digests", expanding=True)))
_CONTENT = (
    select(ManifestRpm.manifest_id, *FIELDS)
    .join(Rpm, Rpm.id == ManifestRpm.rpm_id)
    .where(ManifestRpm.manifest_id.in_(bindparam("manifests", expanding=True)))
)
_CURRENT = (
    select(ImageBuild.manifest_id, *FIELDS)
    .select_from(Image)
    .join(ImageBuild, ImageBuild.id == Image.current_build_id)
    .outerjoin(ManifestRpm, ManifestRpm.manifest_id == ImageBuild.manifest_id)
    .outerjoin(Rpm, Rpm.id == ManifestRpm.rpm_id)
    .where(Image.name == bindparam("image"), Image.stream == bindparam("of"))
)
INTERNING = 0x7265_6277


def intern(connection: Connection, manifests: Iterable[Content]) -> dict[str, int]:
    """Keep these manifests; the id of each by its digest. What is known already costs one look-up.

    None of it can be deleted before the transaction ends.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock_shared(INTERNING)))
    by_digest = {manifest.digest: manifest for manifest in manifests}
    ids = _ids(connection, list(by_digest))
    new = {digest: by_digest[digest] for digest in sorted(by_digest.keys() - ids.keys())}
    if not new:
        return ids
    for rows in chunks([{"digest": digest} for digest in new]):
        connection.execute(insert(Manifest), rows)
    made = _ids(connection, list(new))
    _fill(connection, [(made[digest], manifest) for digest, manifest in new.items()])
    return ids | made


def _fill(connection: Connection, made: Sequence[tuple[int, Content]]) -> None:
    """Record the RPMs of new manifests."""
    rpms = _intern_rpms(connection, {rpm for _, manifest in made for rpm in manifest.rpms})
    for part in chunks(made, 200):
        pairs = sorted((rpms[rpm], ident) for ident, manifest in part for rpm in manifest.rpms)
        load(connection, ManifestRpm, ("rpm_id", "manifest_id"), pairs)


def only_here(connection: Connection) -> bool:
    """Whether no other transaction interns until the transaction ends: what is in no use now may then be deleted.

    SQLite has one writer at a time anyway. It does not wait: interning may take long, and others would queue.
    """
    if connection.dialect.name != "postgresql":
        return True
    return bool(connection.scalar(select(func.pg_try_advisory_xact_lock(INTERNING))))


def _ids(connection: Connection, digests: Sequence[str]) -> dict[str, int]:
    ids: dict[str, int] = {}
    for part in chunks(digests, 500):
        ids.update((digest, ident) for digest, ident in connection.execute(_KNOWN, {"digests": part}))
    return ids


def _intern_rpms(connection: Connection, rpms: set[Package]) -> dict[Package, int]:
    rows = [
        {
            "name": rpm.name,
            "epoch": rpm.epoch,
            "version": rpm.version,
            "release": rpm.release,
            "arch": rpm.arch,
            "source": rpm.source,
            "source_evr": rpm.source_evr,
        }
        for rpm in rpms
    ]
    for part in chunks(rows):
        insert_new(connection, Rpm, part)
    ids: dict[Package, int] = {}
    for names in chunks(sorted({rpm.source for rpm in rpms}), 500):
        for row in connection.execute(select(Rpm.id, *FIELDS).where(Rpm.source.in_(names))):
            package = Package(*row[1:])
            if package in rpms:
                ids[package] = row[0]
    return ids


def keep_read(connection: Connection, manifests: Mapping[str, Content], now: float) -> None:
    """Keep what was read of builds of no image yet, by their names: a read that is broken off goes on there."""
    ids = intern(connection, manifests.values())
    insert_new(connection, ReadManifest, [
        {"ident": ident, "manifest_id": ids[content.digest], "read_at": now} for ident, content in manifests.items()
    ])  # fmt: skip


def read_before(connection: Connection, idents: Sequence[str]) -> dict[str, Content]:
    """The manifests that were kept of these builds."""
    manifests: dict[str, Content] = {}
    for part in chunks(idents, 500):
        query = select(ReadManifest.ident, ReadManifest.manifest_id).where(ReadManifest.ident.in_(part))
        ids = {row[0]: row[1] for row in connection.execute(query)}
        contents = read(connection, set(ids.values()))
        manifests |= {ident: contents[manifest_id] for ident, manifest_id in ids.items()}
    return manifests


def forget_read(connection: Connection) -> None:
    """The inventory was taken in whole: what was read for it is in the images' builds."""
    connection.execute(delete(ReadManifest))


def read(connection: Connection, manifest_ids: Iterable[int]) -> Mapping[int, Content]:
    """The content of these manifests."""
    by_manifest: dict[int, list[Package]] = {ident: [] for ident in manifest_ids}
    for part in chunks(list(by_manifest), 500):
        for row in connection.execute(_CONTENT, {"manifests": part}):
            by_manifest[row[0]].append(Package(*row[1:]))
    return {ident: Content.of(rpms) for ident, rpms in by_manifest.items()}


def carrying(
    connection: Connection, rpm_ids: Sequence[int], among: Collection[int | None] | None = None
) -> dict[int, tuple[int, ...]]:
    """Which of these RPMs each manifest of a current build has, by the manifest's id; of these manifests, where given.

    Manifests with none of them are not there.
    """
    query = select(ManifestRpm.manifest_id, ManifestRpm.rpm_id).order_by(ManifestRpm.rpm_id)
    if among is not None:
        query = query.where(ManifestRpm.manifest_id.in_(among))
    else:  # hidden from the planner, which else may go through all builds that ever had one of these manifests
        current = select(ImageBuild.manifest_id).join(Image, Image.current_build_id == ImageBuild.id)
        query = query.where((ManifestRpm.manifest_id + 0).in_(current.where(Image.present)))
    by_manifest: dict[int, list[int]] = {}
    for part in chunks(rpm_ids, 500):
        for manifest_id, rpm_id in connection.execute(query.where(ManifestRpm.rpm_id.in_(part))).all():
            by_manifest.setdefault(manifest_id, []).append(rpm_id)
    return {manifest_id: tuple(rpm_ids) for manifest_id, rpm_ids in by_manifest.items()}


def current(connection: Connection, key: str) -> Content | None:
    """What is in the image's current build, in one statement; None where it is unknown."""
    name, stream = ImageName.of(key)
    rows = connection.execute(_CURRENT, {"image": name, "of": stream}).all()
    if not rows or rows[0][0] is None:
        return None
    return Content.of(Package(*row[1:]) for row in rows if row[1] is not None)
