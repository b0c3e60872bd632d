"""External parents as their registries had them last, and what is in them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import msgspec
from msgspec import Struct, field
from sqlalchemy import Connection, Text, cast, delete, insert, select, true, update

from rebuilder.domain.external import ExternalImage as ExternalValue
from rebuilder.domain.external import at_digest
from rebuilder.domain.image import Manifest as Content
from rebuilder.domain.image import PinnedParent, Source
from rebuilder.domain.rpm import Rpm as Package
from rebuilder.store import manifests
from rebuilder.store.models import ExternalImage, ExternalManifest, Image, ImageBuild, ImageParent, ManifestRpm, Rpm
from rebuilder.store.upsert import chunks

_SOURCE = msgspec.json.Decoder(Source)


class Observed(Struct, frozen=True):
    """What a registry answered about a pull spec: `contents` has the manifest of each platform that was read, and how.

    With `trouble` it gave no answer, and nothing else is said.
    """

    spec: str
    name: str = ""
    digest: str = ""
    offered: str = ""
    contents: Mapping[str, tuple[Content | None, str]] = field(default_factory=dict)
    trouble: str = ""


class StoredExternal(Struct, frozen=True):
    """A row of the table; times are seconds since the epoch. `platforms` has how the contents of each are known."""

    spec: str
    name: str
    digest: str
    previous: str
    offered: str
    trouble: str
    since: float | None
    asked_at: float | None
    platforms: Mapping[str, str] = field(default_factory=dict)


def in_use(connection: Connection) -> dict[str, set[str]]:
    """The pull specs that images of the inventory are built on, each with the platforms that sources name for them."""
    query = select(ImageParent.external, cast(Image.source, Text)).join(Image, Image.id == ImageParent.image_id)
    platforms: dict[str, set[str]] = {}
    for spec, source in connection.execute(query.where(Image.present, ImageParent.parent_id.is_(None)).distinct()):
        platforms.setdefault(spec, set()).update(_SOURCE.decode(source).platforms)
    return platforms


def never_asked(connection: Connection) -> list[str]:
    """The pull specs that images of the inventory are built on and of which no registry was asked yet.

    The index on the parents of ours finds those without one: an idle engine asks this again and again.
    """
    row = select(ExternalImage.id).where(ExternalImage.spec == ImageParent.external).exists()
    query = select(ImageParent.external).join(Image, Image.id == ImageParent.image_id)
    return list(connection.scalars(query.where(ImageParent.parent_id.is_(None), Image.present, ~row).distinct()))


def images_on(connection: Connection) -> dict[str, list[str]]:
    """The images that are built directly on each pull spec, by name."""
    query = (
        select(ImageParent.external, Image.key)
        .join(Image, Image.id == ImageParent.image_id)
        .where(Image.present, ImageParent.parent_id.is_(None))
        .order_by(Image.name, Image.stream)
    )
    by_spec: dict[str, dict[str, None]] = {}  # one may name a parent twice, as its base and for a stage
    for spec, image in connection.execute(query):
        by_spec.setdefault(spec, {})[image] = None
    return {spec: list(images) for spec, images in by_spec.items()}


def stored(connection: Connection) -> dict[str, StoredExternal]:
    """All that were ever asked for, by pull spec."""
    origins: dict[int, dict[str, str]] = {}
    read = select(ExternalManifest.external_id, ExternalManifest.platform, ExternalManifest.origin)
    read = read.join(ExternalImage, ExternalImage.id == ExternalManifest.external_id)
    for ident, platform, origin in connection.execute(read.where(ExternalImage.digest == ExternalManifest.digest)):
        origins.setdefault(ident, {})[platform] = origin
    rows = connection.execute(select(ExternalImage.__table__).order_by(ExternalImage.spec))
    return {
        row.spec: StoredExternal(
            row.spec, row.name, row.digest, row.previous, row.offered, row.trouble, row.since, row.asked_at,
            origins.get(row.id, {}),
        )
        for row in rows
    }  # fmt: skip


def current(connection: Connection) -> dict[str, PinnedParent]:
    """Every external parent that a registry has told of, by pull spec, with the digest that it had last."""
    query = select(ExternalImage.spec, ExternalImage.name, ExternalImage.digest).where(ExternalImage.digest != "")
    return {
        spec: PinnedParent(spec, at_digest(name, digest)) for spec, name, digest in connection.execute(query)
    }  # fmt: skip


def record(connection: Connection, observed: Iterable[Observed], now: float) -> set[str]:
    """Keep what the registries answered; the pull specs of which more is known now, be it another digest."""
    observed = list(observed)
    before = stored(connection)
    ids = {row.spec: row.id for row in connection.execute(select(ExternalImage.spec, ExternalImage.id))}
    contents = [content for one in observed for content, _ in one.contents.values() if content is not None]
    interned = manifests.intern(connection, contents)
    moved = set()
    for one in observed:
        last = before.get(one.spec) or StoredExternal(one.spec, "", "", "", "", "", None, now)
        values = _values(one, last, now)
        ident = _keep_row(connection, one.spec, ids.get(one.spec), values)
        if not one.trouble and (one.digest != last.digest or one.contents):
            moved.add(one.spec)
        _keep_contents(connection, ident, one, interned)
    return moved


def asked_in_vain(connection: Connection, spec: str | None, now: float) -> None:
    """No answer came for the pull spec, or for any: what waits for one goes on with what was known."""
    which = true() if spec is None else ExternalImage.spec == spec
    connection.execute(update(ExternalImage).where(which).values(asked_at=now))


def _keep_row(connection: Connection, spec: str, ident: int | None, values: Mapping[str, object]) -> int:
    if ident is not None:
        connection.execute(update(ExternalImage).where(ExternalImage.id == ident).values(values))
        return ident
    new = insert(ExternalImage).values(spec=spec, **values).returning(ExternalImage.id)
    return connection.execute(new).scalar_one()


def _values(one: Observed, last: StoredExternal, now: float) -> dict[str, object]:
    if one.trouble:
        return {"name": last.name, "digest": last.digest, "previous": last.previous, "offered": last.offered,
                "since": last.since, "trouble": one.trouble, "asked_at": now}  # fmt: skip
    same = one.digest == last.digest
    return {"name": one.name, "digest": one.digest, "previous": last.previous if same else last.digest,
            "offered": one.offered, "since": last.since if same else now, "trouble": "", "asked_at": now}  # fmt: skip


def _keep_contents(connection: Connection, ident: int, one: Observed, interned: Mapping[str, int]) -> None:
    """What is in the digest that it has now; what was in others is not asked for any more."""
    if one.trouble or not one.contents:
        return
    here = ExternalManifest.external_id == ident
    connection.execute(delete(ExternalManifest).where(here, ExternalManifest.digest != one.digest))
    connection.execute(delete(ExternalManifest).where(here, ExternalManifest.platform.in_(list(one.contents))))
    rows = [
        {"external_id": ident, "digest": one.digest, "platform": platform, "origin": origin,
         "manifest_id": None if content is None else interned[content.digest]}
        for platform, (content, origin) in one.contents.items()
    ]  # fmt: skip
    connection.execute(insert(ExternalManifest), rows)


def known(connection: Connection, sources: Collection[str]) -> dict[str, ExternalValue]:
    """The external parents that have RPMs of these source packages, with those."""
    query = (
        select(ExternalImage.spec, ExternalImage.digest, ExternalImage.since, ExternalImage.offered, *manifests.FIELDS)
        .join(ExternalManifest, ExternalManifest.external_id == ExternalImage.id)
        .join(ManifestRpm, ManifestRpm.manifest_id == ExternalManifest.manifest_id)
        .join(Rpm, Rpm.id == ManifestRpm.rpm_id)
        .where(ExternalManifest.digest == ExternalImage.digest)
        .order_by(ExternalImage.id, Rpm.id)
    )
    rpms: dict[str, dict[Package, None]] = {}
    parents: dict[str, ExternalValue] = {}
    for part in chunks(sorted(set(sources)), 500):
        for spec, digest, since, offered, *fields in connection.execute(query.where(Rpm.source.in_(part))):
            parents.setdefault(spec, ExternalValue(spec, digest, since, (), "@" in spec, offered))
            rpms.setdefault(spec, {})[Package(*fields)] = None
    return {
        spec: ExternalValue(spec, one.digest, one.since, tuple(rpms[spec]), one.pinned, one.offered)
        for spec, one in parents.items()
    }


def manifests_of(connection: Connection, spec: str) -> dict[str, Content | None]:
    """What is in the pull spec's image on each platform; None where it could not be read."""
    query = (
        select(ExternalManifest.platform, ExternalManifest.manifest_id)
        .join(ExternalImage, ExternalImage.id == ExternalManifest.external_id)
        .where(ExternalImage.spec == spec, ExternalManifest.digest == ExternalImage.digest)
    )
    ids = {row.platform: row.manifest_id for row in connection.execute(query)}
    contents = manifests.read(connection, {ident for ident in ids.values() if ident is not None})
    return {platform: None if ident is None else contents[ident] for platform, ident in ids.items()}


def rpms_on(connection: Connection, spec: str, names: Collection[str]) -> list[tuple[str, Package]]:
    """The RPMs of these names in the current builds of the images on the pull spec, once for each stream."""
    query = (
        select(Image.stream, *manifests.FIELDS)
        .join(ImageParent, ImageParent.image_id == Image.id)
        .join(ImageBuild, ImageBuild.id == Image.current_build_id)
        .join(ManifestRpm, ManifestRpm.manifest_id == ImageBuild.manifest_id)
        .join(Rpm, Rpm.id == ManifestRpm.rpm_id)
        .where(Image.present, ImageParent.external == spec, ImageParent.kind == "base")
        .distinct()
    )
    rpms = []
    for part in chunks(sorted(set(names)), 500):
        rpms += [(row[0], Package(*row[1:])) for row in connection.execute(query.where(Rpm.name.in_(part)))]
    return rpms
