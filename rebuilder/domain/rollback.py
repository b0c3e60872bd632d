"""Images that stand on a build of their parent that was taken back.

Pure. A container build that turns out bad is rolled back: the one before it is tagged again, and is the parent's
current build once more. What was built on the bad one still carries it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rebuilder.domain.image import Image, ImageBuild
from rebuilder.domain.rpm import EVR


@dataclass(frozen=True, slots=True)
class RolledBack:
    """An image, and the build of its parent that it stands on, newer than the one that is `current` again."""

    image: str
    parent: str
    built_on: str
    current: str

    def __str__(self) -> str:
        return f"built on {self.built_on}, which was rolled back: {self.parent} is {self.current} again"


def rolled_back(images: Iterable[Image], builds: Mapping[str, ImageBuild]) -> list[RolledBack]:
    """The images whose current build stands on a newer build of a parent than the parent's current one.

    `builds` has the current builds by image. Only builds that are named by name, version and release, as Koji names
    them, can be told apart so.
    """
    found = []
    for image in images:
        mine = builds.get(image.key)
        for parent in image.parents if mine is not None else ():
            theirs = builds.get(parent.image) if parent.image else None
            stands_on = theirs and next((nvr for nvr in mine.parents if is_newer(nvr, theirs.ident)), "")  # type: ignore[union-attr]
            if theirs and stands_on:
                found.append(RolledBack(image.key, theirs.image, stands_on, theirs.ident))
    return found


def is_newer(nvr: str, than: str) -> bool:
    """Whether it is a newer build of the same package. A container's version need not have a digit."""
    try:
        (mine, *version), (theirs, *other) = nvr.rsplit("-", 2), than.rsplit("-", 2)
        return mine == theirs and EVR(0, *version).is_newer_than(EVR(0, *other))
    except (TypeError, ValueError):
        return False
