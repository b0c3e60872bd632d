"""The builds that an image had, what is in them, and what changed from each to the next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain, pairwise

from msgspec import Struct, field
from sqlalchemy import Connection, select

from rebuilder.domain.deployment import by_digest
from rebuilder.domain.rpm import Rpm as Package
from rebuilder.store import manifests
from rebuilder.store.models import ImageBuild, ManifestRpm, Rpm


class Difference(Struct, frozen=True):
    """What is in one build and was not in the one before. `changed` has RPMs of one name as they were, and as they are:
    one of each, but for those of which several versions are installed, as kernels.
    """

    added: tuple[Package, ...] = ()
    removed: tuple[Package, ...] = ()
    changed: tuple[tuple[tuple[Package, ...], tuple[Package, ...]], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


class Build(Struct, frozen=True):
    """A finished build. `since` is what changed from the build before; None where one of the two cannot be read."""

    id: int
    ident: str
    digest: str
    parents: tuple[str, ...]
    recorded_at: float
    manifest_id: int | None
    since: Difference | None
    externals: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()

    @property
    def pull_specs(self) -> tuple[str, ...]:
        """Where it is in registries, by digest."""
        return by_digest(self.tags, self.digest)


def of_image(connection: Connection, image_id: int, limit: int) -> list[Build]:
    """The last builds of an image, newest first."""
    query = select(ImageBuild.__table__).where(ImageBuild.image_id == image_id)
    rows = connection.execute(query.order_by(ImageBuild.id.desc()).limit(limit + 1)).all()
    contents = _rpm_ids(connection, {row.manifest_id for row in rows if row.manifest_id is not None})
    changed: dict[int, tuple[set[int], set[int]]] = {}  # what went and what came, of each build where both are known
    for row, before in pairwise(rows):
        if row.manifest_id in contents and before.manifest_id in contents:
            old, new = contents[before.manifest_id], contents[row.manifest_id]
            changed[row.id] = old - new, new - old
    packages = _packages(connection, set().union(*chain.from_iterable(changed.values())))
    since = {
        ident: difference([packages[rpm] for rpm in gone], [packages[rpm] for rpm in come])
        for ident, (gone, come) in changed.items()
    }
    return [
        Build(
            row.id, row.ident, row.digest, tuple(row.parents), row.recorded_at, row.manifest_id, since.get(row.id),
            row.externals,
            tuple(row.tags),
        )
        for row in rows[:limit]
    ]


def _rpm_ids(connection: Connection, manifest_ids: set[int]) -> dict[int, set[int]]:
    rpm_ids: dict[int, set[int]] = {ident: set() for ident in manifest_ids}
    query = select(ManifestRpm.manifest_id, ManifestRpm.rpm_id).where(ManifestRpm.manifest_id.in_(manifest_ids))
    for manifest_id, rpm_id in connection.execute(query):
        rpm_ids[manifest_id].add(rpm_id)
    return rpm_ids


def _packages(connection: Connection, ids: Iterable[int]) -> dict[int, Package]:
    rows = connection.execute(select(Rpm.id, *manifests.FIELDS).where(Rpm.id.in_(list(ids))))
    return {row[0]: Package(*row[1:]) for row in rows}


def difference(before: Iterable[Package], after: Iterable[Package]) -> Difference:
    """What changed from some RPMs to others, by name and architecture."""
    old, new = set(before), set(after)
    gone, come = _by_name(old - new), _by_name(new - old)
    return Difference(
        tuple(chain.from_iterable(come[key] for key in come if key not in gone)),
        tuple(chain.from_iterable(gone[key] for key in gone if key not in come)),
        tuple((gone[key], come[key]) for key in come if key in gone),
    )


def _by_name(rpms: Iterable[Package]) -> dict[tuple[str, str], tuple[Package, ...]]:
    groups: dict[tuple[str, str], tuple[Package, ...]] = {}
    for rpm in sorted(rpms, key=str):
        groups[rpm.name, rpm.arch] = (*groups.get((rpm.name, rpm.arch), ()), rpm)
    return groups


def content(connection: Connection, manifest_id: int) -> list[Package]:
    """The RPMs of a manifest, by name."""
    query = select(*manifests.FIELDS).join(ManifestRpm, ManifestRpm.rpm_id == Rpm.id)
    rows = connection.execute(query.where(ManifestRpm.manifest_id == manifest_id).order_by(Rpm.name, Rpm.arch, Rpm.id))
    return [Package(*row) for row in rows]
