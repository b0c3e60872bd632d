"""Builds that are taken back: what an image can go back to, and what stands on a build that is bad.

Pure. A container build that turns out bad is rolled back: the one before it is tagged again, and is the image's
current build once more. What was built on the bad one still carries it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import Struct

from rebuilder.domain.deployment import by_digest
from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import Image, ImageBuild
from rebuilder.domain.rpm import EVR
from rebuilder.domain.wording import few

SHOWN = 5
SHORTEST = 6  # characters of a name of a build that may stand for the whole


class PastBuild(Struct, frozen=True):
    """A finished build of an image (name:stream); `ident` is what its builder calls it, `parents` what it is built on.

    `key` is that of the rebuild that made it, "" where none did. `tags` are its pull specs.
    """

    image: str
    image_id: int
    id: int
    ident: str
    key: str
    digest: str
    tags: tuple[str, ...]
    parents: tuple[str, ...]

    @property
    def places(self) -> tuple[str, ...]:
        """Where it is, or was, in registries, by digest."""
        return by_digest(self.tags, self.digest)

    @property
    def names(self) -> frozenset[str]:
        """The names in registries that it has, or had."""
        return frozenset(tag for tag in self.tags if "@" not in tag)

    def is_meant_by(self, text: str) -> bool:
        """Whether an operator means it: by its ident or digest, or the beginning of one, a pull spec, or a tag."""
        begins = len(text) >= SHORTEST and self.ident.startswith(text)
        tags = {tag.rpartition(":")[2] for tag in self.names}
        return begins or text in {self.ident, self.digest, *self.tags, *self.places, *tags}


def meant_build(image: str, text: str, earlier: Sequence[PastBuild]) -> Sequence[PastBuild]:
    """The earlier builds that an image may go back to, newest first: the one that is meant, or all where none is named.

    Raises RequestError where there is none.
    """
    if not earlier:
        raise RequestError(f"{image} has no earlier good build to go back to")
    builds = [build for build in earlier if build.is_meant_by(text)] if text else earlier
    if not builds:
        raise RequestError(f"{image} has no earlier good build {text}; there are: {named_builds(earlier)}")
    return builds


def named_builds(builds: Sequence[PastBuild]) -> str:
    """The first few of these builds, and how many there are beside these."""
    return few((build.ident for build in builds), SHOWN)


def standing_on(bad: PastBuild, current: Mapping[str, PastBuild]) -> list[PastBuild]:
    """The current builds of other images that are made of the bad one, what is built on it directly first."""
    idents, builds = {bad.ident}, dict[str, PastBuild]()
    while True:
        new = [
            build for build in current.values()
            if build.image != bad.image and build.image not in builds and not idents.isdisjoint(build.parents)
        ]  # fmt: skip
        if not new:
            return list(builds.values())
        builds |= {build.image: build for build in sorted(new, key=lambda build: build.image)}
        idents |= {build.ident for build in new}


def without(bad: Collection[str], earlier: Iterable[PastBuild]) -> list[PastBuild]:
    """The builds that are not made of any of the bad ones, given by their idents."""
    return [build for build in earlier if not set(bad).intersection(build.parents)]


class RolledBack(Struct, frozen=True):
    """An image, and the build of its parent that it stands on, newer than the one that is `current` again."""

    image: str
    parent: str
    built_on: str
    current: str

    def __str__(self) -> str:
        return f"built on {self.built_on}, which was rolled back: {self.parent} is {self.current} again"


def rolled_back(
    images: Iterable[Image], builds: Mapping[str, ImageBuild], taken_back: Mapping[str, Collection[str]], *,
    by_nvr: bool,
) -> list[RolledBack]:
    """The images whose current build stands on a build of a parent that was taken back.

    `builds` has the current builds by image, `taken_back` the builds of each image that operators took back. `by_nvr`:
    the builds are named by name, version and release, as Koji does, so that a newer one than the parent's current one
    is such a build, too. Other names, as those with hashes, tell nothing of which is newer.
    """
    affected = []
    for image in images:
        mine = builds.get(image.key)
        for parent in image.parents if mine is not None else ():
            theirs = builds.get(parent.image) if parent.image else None
            gone = taken_back.get(parent.image, ())
            stands_on = _bad_parent(mine, theirs, gone, by_nvr) if mine and theirs else ""
            if theirs and stands_on:
                affected.append(RolledBack(image.key, theirs.image, stands_on, theirs.ident))
    return affected


def _bad_parent(mine: ImageBuild, theirs: ImageBuild, gone: Collection[str], by_nvr: bool) -> str:
    """The build of the parent that mine is made of, where it was taken back; `theirs` is current, "" is none."""
    return next((one for one in mine.parents if one in gone or (by_nvr and is_newer(one, theirs.ident))), "")


def is_newer(nvr: str, than: str) -> bool:
    """Whether it is a newer build of the same package. A container's version need not have a digit."""
    try:
        (mine, *version), (theirs, *other) = nvr.rsplit("-", 2), than.rsplit("-", 2)
        return mine == theirs and EVR(0, *version).is_newer_than(EVR(0, *other))
    except (TypeError, ValueError):
        return False
