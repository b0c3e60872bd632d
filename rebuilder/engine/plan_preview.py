"""A plan that nobody has accepted, and what it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from rebuilder.config import Settings
from rebuilder.domain.change import Change, Severity, streams_for
from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import Stream
from rebuilder.domain.plan import Plan, make_plan
from rebuilder.domain.rpm import ARCHES, SourceBuild
from rebuilder.domain.schedule import durations
from rebuilder.inventory.schema import Document


@dataclass(frozen=True, slots=True)
class Draft:
    """A plan that nobody has accepted, and the expected seconds of each image's build."""

    plan: Plan
    seconds: Mapping[str, float]


def of_document(document: Document, wanted: Iterable[Change], settings: Settings) -> Draft:
    """What accepting these changes would do to a document's images, none of which is in the store."""
    wanted = tuple(wanted)
    graph, carried = document.graph, document.carried({change.build.name for change in wanted})
    seconds = durations(graph.images)
    plan = make_plan(graph, carried, wanted, settings.terms({}), slots=settings.slots, seconds=seconds)
    return Draft(plan, seconds)


def changes_from(
    builds: Iterable[SourceBuild], streams: tuple[Stream, ...], stream: str | None, severity: Severity
) -> list[Change]:
    """The changes that an operator asks about: in the given stream, else in every stream that takes the build.

    Raises RequestError for a stream that is not there, and for a build that no stream takes.
    """
    if stream is not None and stream not in {known.name for known in streams}:
        raise RequestError(f"unknown stream {stream}; there are: {', '.join(s.name for s in streams) or 'none'}")
    found = []
    for build in builds:
        names = (stream,) if stream else streams_for(build, streams)
        if not names:
            raise RequestError(f"no stream takes {build} by its dist tag; name one with --stream")
        found += [Change(build, name, severity) for name in names]
    return found


def builds_named(texts: Iterable[str], sources_of: Callable[[str], Collection[str]]) -> list[SourceBuild]:
    """The source builds that somebody means; `sources_of` tells what the RPMs of a name are made from.

    Raises RequestError for what is no build's name, and for that of a binary package.
    """
    builds = [build_named(text) for text in texts]
    for name in dict.fromkeys(build.name for build in builds):
        refuse_binary(name, sources_of(name))
    return builds


def build_named(text: str) -> SourceBuild:
    """The source build that somebody means: an NVR, or the name of an RPM file. Raises RequestError."""
    stem, dot, arch = text.strip().removesuffix(".rpm").rpartition(".")
    return SourceBuild.parse(stem if dot and arch in {*ARCHES, "src"} else text)


def refuse_binary(name: str, sources: Collection[str]) -> None:
    """Raises RequestError where images carry RPMs of this name, and none that is made from a package of this name."""
    if sources and name not in sources:
        made = ", ".join(sorted(sources))
        told = f"{name} is an RPM that is made from {made}"
        raise RequestError(f"{told}: give the source build, as {made}-VERSION-RELEASE")
