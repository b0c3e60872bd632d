"""A plan that is not accepted, and what it is asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Protocol

from msgspec import Struct

from rebuilder.config import Settings
from rebuilder.domain.change import Change, Severity, streams_for
from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import Stream
from rebuilder.domain.naming import unknown_stream
from rebuilder.domain.plan import Draft, make_plan
from rebuilder.domain.rpm import ARCHES, SourceBuild
from rebuilder.domain.schedule import durations
from rebuilder.inventory.document import Document


class AskedUpdates(Struct, frozen=True):
    """The updates that somebody asks about: NVRs of source builds, aliases or CVEs; none, where there are no `names`.

    `stream` is the one that they are for, None those that take them; `severity` counts for what is not known yet.
    """

    names: Sequence[str] = ()
    stream: str | None = None
    severity: Severity = Severity.UNSPECIFIED

    def __bool__(self) -> bool:
        return bool(self.names)

    @property
    def is_incomplete(self) -> bool:
        """Whether there is something said of updates, and no update."""
        return not self.names and (self.stream is not None or self.severity is not Severity.UNSPECIFIED)


def of_document(document: Document, changes: Iterable[Change], settings: Settings) -> Draft:
    """What accepting these changes would do to a document's images, none of which is in the store."""
    changes = tuple(changes)
    graph, carried = document.graph, document.carried({change.build.name for change in changes})
    seconds = durations(graph.images)
    plan = make_plan(graph, carried, changes, settings.terms({}), slots=settings.slots, seconds=seconds)
    return Draft(plan, seconds)


def changes_from(
    builds: Iterable[SourceBuild], streams: tuple[Stream, ...], updates: AskedUpdates
) -> list[Change]:
    """The changes that an operator asks about: in the asked stream, else in every stream that takes the build.

    Raises RequestError for a stream that is not there, and for a build that no stream takes.
    """
    stream = updates.stream
    if stream is not None and stream not in {one.name for one in streams}:
        raise RequestError(unknown_stream(stream, [one.name for one in streams]))
    changes = []
    for build in builds:
        names = (stream,) if stream else streams_for(build, streams)
        if not names:
            raise RequestError(f"no stream takes {build} by its dist tag; name one with --stream")
        changes += [Change(build, name, updates.severity) for name in names]
    return changes


class Packages(Protocol):
    """What packages there are in some images."""

    def sources_of(self, name: str) -> Collection[str]:
        """The name where it is a source package's; else the source packages of the RPMs of that name."""

    def carriers(self, rpm: str) -> Mapping[str, int]:
        """How many images carry RPMs of this name, by their source packages."""

    def sources(self) -> Collection[str]:
        """All source packages."""


def builds_named(texts: Iterable[str], packages: Packages) -> list[SourceBuild]:
    """The source builds that somebody means.

    Raises RequestError for what is no build's name, and for that of a package that no image carries.
    """
    builds = [build_named(text) for text in texts]
    for build in builds:
        if build.name not in packages.sources_of(build.name):
            raise RequestError(meant(build, packages))
    return builds


def meant(build: SourceBuild, packages: Packages) -> str:
    """What may have been meant by a build of a package that no image carries."""
    made = {source: count for source, count in packages.carriers(build.name).items() if source}
    if made:
        source, count = max(made.items(), key=lambda item: item[1])
        right = f"{source}-{build.evr.version_release}"
        return f"{count} images carry the RPM {build.name}; its source is {source}: did you mean {right}?"
    alike = get_close_matches(build.name, packages.sources(), 1)
    right = f": did you mean {alike[0]}-{build.evr.version_release}?" if alike else ""
    return f"no image carries RPMs of {build.name}{right}"


def build_named(text: str) -> SourceBuild:
    """The source build that somebody means: an NVR, or the name of an RPM file. Raises RequestError."""
    stem, dot, arch = text.strip().removesuffix(".rpm").rpartition(".")
    return SourceBuild.parse(stem if dot and arch in {*ARCHES, "src"} else text)

