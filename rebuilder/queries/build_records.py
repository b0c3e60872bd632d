"""Image builds, what is in them, and what changed from one to the next."""

from __future__ import annotations

from sqlalchemy import Connection

from rebuilder.domain.deployment import by_digest
from rebuilder.domain.errors import UnknownError
from rebuilder.domain.rpm import Rpm
from rebuilder.queries.answer import Answer
from rebuilder.queries.moment import Moment, moment
from rebuilder.store import builds, lists, manifests
from rebuilder.store.lists import BuildEntry


class ImageBuild(Answer):
    """A finished build. `manifest` is null where its contents are unknown.

    `externals` has the external parents that it was built on, by what its file calls them: their pull specs by digest.
    `tags` are the pull specs under which it was pushed; `pull_specs` has one by digest for each repository.
    """

    id: int
    image: str
    ident: str
    digest: str
    parents: tuple[str, ...]
    externals: dict[str, str]
    tags: tuple[str, ...]
    pull_specs: tuple[str, ...]
    manifest: str | None
    recorded: Moment
    rebuild: int | None
    wave: int | None


class Updated(Answer):
    """An RPM that is of another version in the later build."""

    before: str
    after: str


class Differences(Answer):
    """What changed from one build to the next."""

    since: str
    added: tuple[str, ...]
    removed: tuple[str, ...]
    updated: tuple[Updated, ...]


class BuildInFull(ImageBuild):
    """A build and what changed since the one before; null for the first, and where one of the two is not known."""

    changed: Differences | None


class Package(Answer):
    """An RPM and the source package that it was built from."""

    nevra: str
    source: str
    source_rpm: str | None


class Manifest(Answer):
    """All RPMs of a build; the digest is that of this content."""

    digest: str
    rpms: tuple[Package, ...]


def build(entry: BuildEntry) -> ImageBuild:
    """A build as an answer."""
    return ImageBuild.model_validate(_build(entry))


def _build(entry: BuildEntry) -> dict[str, object]:
    return {
        "id": entry.id, "image": entry.image, "ident": entry.ident, "digest": entry.digest, "parents": entry.parents,
        "externals": dict(entry.externals), "tags": entry.tags,
        "pull_specs": by_digest(entry.tags, entry.digest), "manifest": entry.manifest or None,
        "recorded": moment(entry.recorded_at), "rebuild": entry.rebuild_id,
        "wave": entry.wave_id,
    }


def build_in_full(connection: Connection, ident: int) -> BuildInFull:
    """One build. Raises UnknownError."""
    entry = lists.build(connection, ident)
    if entry is None:
        raise UnknownError(f"there is no image build {ident}")
    before = lists.build_before(connection, entry)
    return BuildInFull.model_validate({**_build(entry), "changed": differences(connection, before, entry)})


def differences(connection: Connection, before: BuildEntry | None, after: BuildEntry) -> Differences | None:
    """What changed from one build to the other, where both could be read."""
    if before is None or not before.manifest or not after.manifest:
        return None
    if before.manifest == after.manifest:
        return Differences(since=before.ident, added=(), removed=(), updated=())
    difference = builds.difference(_rpms(connection, before.manifest), _rpms(connection, after.manifest))
    return Differences(
        since=before.ident,
        added=tuple(map(str, difference.added)),
        removed=tuple(map(str, difference.removed)),
        updated=tuple(
            Updated(before=", ".join(map(str, old)), after=", ".join(map(str, new))) for old, new in difference.changed
        ),
    )


def _rpms(connection: Connection, digest: str) -> frozenset[Rpm]:
    ident = lists.manifest(connection, digest)
    if ident is None:
        raise UnknownError(f"there is no manifest {digest}")
    return manifests.read(connection, [ident])[ident].rpms


def manifest(connection: Connection, digest: str) -> Manifest:
    """What a build has in it. Raises UnknownError."""
    rpms = sorted(_rpms(connection, digest), key=lambda rpm: rpm.nevra)
    packages = (Package(nevra=rpm.nevra, source=rpm.source, source_rpm=rpm.sourcerpm or None) for rpm in rpms)
    return Manifest(digest=digest, rpms=tuple(packages))
