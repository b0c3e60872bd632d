"""Where any new digest of an external parent counts: what does not stand on it is rebuilt, once for each digest."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import replace

from sqlalchemy import Connection

from rebuilder.config import Settings
from rebuilder.domain.external import BaseMoved, short
from rebuilder.domain.graph import Graph
from rebuilder.domain.impact import Skip, Skipped
from rebuilder.domain.lifecycle import OPEN, PENDING
from rebuilder.domain.plan import Draft, plan_by_hand
from rebuilder.domain.policy import keeping_from_bases
from rebuilder.domain.schedule import durations
from rebuilder.store import bases, inventory, rebuilds, waves

log = logging.getLogger(__name__)
TOLD = 3  # parents in a note


def plan_moved(connection: Connection, settings: Settings, now: float) -> int | None:
    """Plan what does not stand on the present digest of its external base; the id of the wave.

    Only where any new digest counts, and once for each digest: what failed, or came out on another one all the same,
    waits for an operator or the next digest. What is being rebuilt is looked at again after that.
    """
    wanted = _wanted(connection) if settings.external_changes == "digest" else {}
    if not wanted:
        return None
    drafted = draft(connection, inventory.load(connection), wanted, settings)
    new = [wanted[rebuild.image].base for rebuild in drafted.plan.rebuilds]
    if not new:
        return None
    parents = sorted({f"{base.spec} is {short(base.digest)} now" for base in new})
    note = f"new base: {', '.join(parents[:TOLD])}{' and others' if len(parents) > TOLD else ''}"
    wave_id, _ = waves.by_hand(connection, drafted, note, "", now)
    entries = [entry for entry in rebuilds.in_states(connection, PENDING) if entry.image in wanted]
    bases.keep_causes(connection, ((entry.id, wanted[entry.image].base) for entry in entries))
    log.info("%s: %d images are rebuilt on it", note, len(new))
    return wave_id


def _wanted(connection: Connection) -> dict[str, BaseMoved]:
    """The images that do not stand on the digest, and for which no rebuild is under way or was planned for it."""
    moved = bases.moved(connection)
    if not moved:
        return {}
    before = bases.planned(connection)
    under_way = {image for image, state in rebuilds.unsettled(connection).items() if state in OPEN}
    return {
        image: one for image, one in moved.items()
        if image not in under_way and (image, one.base.spec, one.base.digest) not in before
    }  # fmt: skip


def draft(
    connection: Connection, graph: Graph, wanted: Mapping[str, BaseMoved], settings: Settings,
    current: Collection[str] = (),
) -> Draft:
    """The plan for these images, without those that rules keep; `current` stand on the digest already."""
    ruled = {image: keeping_from_bases(settings.terms({}).rules, graph.image(image)) for image in wanted}
    seconds = durations(graph.images, inventory.measured(connection))
    images = [image for image, rule in ruled.items() if rule is None]
    plan = plan_by_hand(graph, images, False, slots=settings.slots, seconds=seconds)
    skipped = [Skipped(image, Skip.POLICY, rule.name) for image, rule in sorted(ruled.items()) if rule is not None]
    skipped += [Skipped(image, Skip.ALREADY_CURRENT) for image in sorted(current)]
    return Draft(replace(plan, skipped=tuple(skipped), untouched=plan.untouched - len(skipped)), seconds)
