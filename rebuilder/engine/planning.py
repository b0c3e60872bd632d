"""From settled changes to a wave."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection

from rebuilder.config import Settings
from rebuilder.domain.change import Change, Severity, streams_for
from rebuilder.domain.errors import RequestError
from rebuilder.domain.graph import Graph
from rebuilder.domain.image import Inventory, Stream
from rebuilder.domain.plan import Carried, Plan, make_plan
from rebuilder.domain.rpm import SourceBuild
from rebuilder.domain.schedule import DEFAULT_SECONDS
from rebuilder.store import changes, inventory, waves


def draft(connection: Connection, wanted: Iterable[Change], settings: Settings) -> tuple[Plan, Mapping[str, float]]:
    """What accepting these changes would do, and the estimated seconds of each image's build. Changes nothing."""
    wanted = tuple(wanted)
    graph = inventory.load(connection)
    carried = inventory.carried(connection, {change.build.name for change in wanted})
    return _plan(graph, carried, wanted, settings)


def draft_of(document: Inventory, wanted: Iterable[Change], settings: Settings) -> Plan:
    """The same of an inventory that is not in the store."""
    wanted = tuple(wanted)
    carried = Carried.of(document, {change.build.name for change in wanted})
    return _plan(Graph(document.images), carried, wanted, settings)[0]


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


def _plan(
    graph: Graph, carried: Carried, wanted: tuple[Change, ...], settings: Settings
) -> tuple[Plan, Mapping[str, float]]:
    seconds = estimates(graph)
    plan = make_plan(
        graph, carried, wanted, descendants=settings.descendants, slots=settings.max_builds, seconds=seconds
    )
    return plan, seconds


def estimates(graph: Graph) -> dict[str, float]:
    """The estimated seconds of each image's build."""
    return {image.key: image.estimate or DEFAULT_SECONDS for image in graph.images}


def settle(connection: Connection, settings: Settings, now: float) -> bool:
    """Plan the changes that have settled, as one wave; whether there were any."""
    noticed = changes.settled(connection, now, settings.settle_seconds, settings.repo_seconds)
    if not noticed:
        return False
    plan, seconds = draft(connection, (item.change for item in noticed), settings)
    if plan.rebuilds:
        waves.accept(connection, plan, noticed, seconds, now)
    changes.planned(connection, [item.id for item in noticed])
    return True
