"""On which digests of external parents images stand, also those that have theirs from images of ours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, Row, select

from rebuilder.domain.external import BaseMoved, ExternalDigest
from rebuilder.domain.external import pinned as digest_of
from rebuilder.store import externals
from rebuilder.store.externals import StoredExternal
from rebuilder.store.models import BaseCause, Image, ImageBuild, ImageParent, Rebuild
from rebuilder.store.read_cache import cached
from rebuilder.store.upsert import chunks, insert_new, numbers


class Standing(Struct, frozen=True):
    """An image whose bases begin with the external parent `spec`: `at` is the digest of it under the current build.

    `at` is "" where that is not recorded. `parent` is the image of ours that it has it from, "" for none. `recorded_at`
    is the moment at which its build was recorded (seconds since the epoch), None where it has none.
    """

    image: str
    spec: str
    at: str
    parent: str
    recorded_at: float | None


def standing(connection: Connection) -> tuple[Standing, ...]:
    """Every image that is built on an external parent, those on images of ours included."""
    return cached(connection, "bases", lambda: tuple(_Bases(connection).standing()))


def moved(connection: Connection) -> dict[str, BaseMoved]:
    """The images that do not stand on the digest that their external base has now.

    Where nothing says on which one stands, it is an image on another that does not, or one from before the base got
    the digest.
    """
    bases = {spec: base for spec, base in externals.stored(connection).items() if base.digest}
    rest = {one.image: one for one in standing(connection) if one.spec in bases}
    images = _with_those_below(rest, {image for image, one in rest.items() if _has_moved(one, bases[one.spec])})
    return {image: _moved(rest[image], bases[rest[image].spec]) for image in sorted(images)}


def _with_those_below(images: Mapping[str, Standing], moved: set[str]) -> set[str]:
    """These images, and those on them of which nothing says on which digest they stand."""
    outdated, unsaid = set(moved), {image for image, one in images.items() if not one.at} - moved
    while below := {image for image in unsaid if images[image].parent in outdated}:
        outdated |= below
        unsaid -= below
    return outdated


def _has_moved(one: Standing, base: StoredExternal) -> bool:
    return one.at != base.digest if one.at else _is_older(one, base)


def _is_older(one: Standing, base: StoredExternal) -> bool:
    if one.recorded_at is None or base.since is None:
        return False
    return bool(base.previous) and base.since > one.recorded_at


def _moved(one: Standing, base: StoredExternal) -> BaseMoved:
    return BaseMoved(one.image, ExternalDigest(one.spec, base.digest), base.since, one.at)


def named(connection: Connection, name: str) -> ExternalDigest | None:
    """The external parent that is called SPEC, with its digest, or SPEC@DIGEST; a digest may be cut short.

    None where no registry was asked for one of that name. With no digest but one that is known, that is what it is.
    """
    spec, _, digest = name.partition("@")
    bases = externals.stored(connection)
    if name in bases:
        return ExternalDigest(name, bases[name].digest)
    if spec not in bases or not digest:
        return None
    have = bases[spec].digest, bases[spec].previous, *(one.at for one in standing(connection) if one.spec == spec)
    return ExternalDigest(spec, next((one for one in have if one.startswith(digest)), digest))


def later(connection: Connection, base: ExternalDigest) -> str:
    """The digest that is known to have come after this one, "" for none."""
    external = externals.stored(connection)[base.spec]
    return external.digest if base.digest == external.previous else ""


def keep_causes(connection: Connection, causes: Iterable[tuple[int, ExternalDigest]]) -> None:
    """These rebuilds, by their ids, are there for these new digests."""
    rows = [{"rebuild_id": ident, "spec": base.spec, "digest": base.digest} for ident, base in causes]
    insert_new(connection, BaseCause, rows)


def causes_of(connection: Connection, rebuild_ids: Sequence[int]) -> dict[int, tuple[ExternalDigest, ...]]:
    """The new digests that these rebuilds are there for."""
    causes: dict[int, tuple[ExternalDigest, ...]] = {}
    query = select(BaseCause.__table__).where(BaseCause.rebuild_id.in_(numbers("rebuilds"))).order_by(BaseCause.spec)
    for part in chunks(rebuild_ids):
        for row in connection.execute(query, {"rebuilds": part}):
            causes[row.rebuild_id] = (*causes.get(row.rebuild_id, ()), ExternalDigest(row.spec, row.digest))
    return causes


def planned(connection: Connection, digests: Iterable[str]) -> set[tuple[str, str, str]]:
    """The images that some rebuild was planned for, each with the base and which of these digests it was for."""
    query = select(Image.key, BaseCause.spec, BaseCause.digest)
    query = query.join(Rebuild, Rebuild.id == BaseCause.rebuild_id).join(Image, Image.id == Rebuild.image_id)
    images: set[tuple[str, str, str]] = set()
    for part in chunks(sorted(digests), 500):
        images.update((image, spec, digest) for image, spec, digest in connection.execute(
            query.where(BaseCause.digest.in_(part))))  # fmt: skip
    return images


class _Bases:
    """The images that are built on something, with what they are built on and what their builds were."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        columns: tuple[Any, ...] = (
            Image.id, Image.key.label("key"), ImageParent.parent_id, ImageParent.external, ImageBuild.ident,
            ImageBuild.parents, ImageBuild.externals, ImageBuild.recorded_at,
        )  # fmt: skip
        query = (
            select(*columns)
            .join(ImageParent, ImageParent.image_id == Image.id)
            .outerjoin(ImageBuild, ImageBuild.id == Image.current_build_id)
            .where(Image.present, ImageParent.kind == "base")
        )
        self._images = {row.id: row for row in connection.execute(query)}
        self._builds = {(row.id, row.ident): row for row in self._images.values() if row.ident is not None}
        self._read_earlier([row for row in self._images.values() if row.ident is not None])

    def _read_earlier(self, builds: Sequence[Row[Any]]) -> None:
        """The builds that are current no more, as far as current ones stand on them."""
        columns: tuple[Any, ...] = (
            ImageBuild.image_id.label("id"), ImageBuild.ident, ImageBuild.parents, ImageBuild.externals
        )  # fmt: skip
        while missing := {above for build in builds for above in self._above(build)} - self._builds.keys():
            builds = []
            for part in chunks(sorted({ident for _, ident in missing}), 500):
                query = select(*columns).where(ImageBuild.ident.in_(part))
                builds += [row for row in self._connection.execute(query) if (row.id, row.ident) in missing]
            if not builds:
                return
            self._builds |= {(row.id, row.ident): row for row in builds}

    def _above(self, build: Row[Any]) -> Iterator[tuple[int, str]]:
        image = self._images.get(build.id)
        if image is not None and image.parent_id in self._images:
            yield from ((image.parent_id, ident) for ident in build.parents)

    def standing(self) -> Iterator[Standing]:
        for image in self._images.values():
            spec = self._spec(image)
            if spec:
                parent = self._images[image.parent_id].key if image.parent_id in self._images else ""
                at = self._at(image, spec) if image.ident is not None else ""
                yield Standing(image.key, spec, at, parent, image.recorded_at)

    def _spec(self, image: Row[Any]) -> str:
        """The external parent that its bases begin with; "" for none."""
        while image.parent_id in self._images:
            image = self._images[image.parent_id]
        return str(image.external)

    def _at(self, build: Row[Any], spec: str) -> str:
        while spec not in build.externals:
            above = [self._builds[key] for key in self._above(build) if key in self._builds]
            if not above:
                return ""
            build = above[0]
        return digest_of(build.externals[spec])
