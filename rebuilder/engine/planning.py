"""From settled changes to a wave."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection

from rebuilder.config import Settings
from rebuilder.domain.change import Change
from rebuilder.domain.graph import Graph
from rebuilder.domain.plan import Plan, make_plan
from rebuilder.domain.schedule import DEFAULT_SECONDS
from rebuilder.store import changes, inventory, waves


def draft(connection: Connection, wanted: Iterable[Change], settings: Settings) -> tuple[Plan, Mapping[str, float]]:
    """What accepting these changes would do, and the estimated seconds of each image's build. Changes nothing."""
    wanted = tuple(wanted)
    graph = inventory.load(connection)
    seconds = estimates(graph)
    carried = inventory.carried(connection, {change.build.name for change in wanted})
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
