"""Where any new digest of an external parent counts: what does not stand on it is rebuilt, once for each digest."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from msgspec.structs import replace
from sqlalchemy import Connection

from rebuilder.config import Settings
from rebuilder.domain.external import BaseMoved, short
from rebuilder.domain.impact import Skip, Skipped
from rebuilder.domain.lifecycle import OPEN, PENDING
from rebuilder.domain.plan import Draft
from rebuilder.domain.policy import keeping_from_bases
from rebuilder.domain.wording import some
from rebuilder.engine import planning
from rebuilder.store import bases, inventory, plan_acceptance, rebuilds

log = logging.getLogger(__name__)


def plan_moved(connection: Connection, settings: Settings, now: float) -> int | None:
    """Plan what does not stand on the present digest of its external base; the id of the wave.

    Only where any new digest counts, and once for each digest: what failed, or came out on another one all the same,
    waits for an operator or the next digest. What is being rebuilt is looked at again after that.
    """
    moved = _wanted(connection) if settings.external_changes == "digest" else {}
    if not moved:
        return None
    drafted = draft(connection, moved, settings)
    new = [moved[rebuild.image].base for rebuild in drafted.plan.rebuilds]
    if not new:
        return None
    note = f"new base: {some(f'{base.spec} is {short(base.digest)} now' for base in new)}"
    wave_id, _ = plan_acceptance.by_hand(connection, drafted, note, "", now)
    entries = [entry for entry in rebuilds.in_states(connection, PENDING) if entry.image in moved]
    bases.keep_causes(connection, ((entry.id, moved[entry.image].base) for entry in entries))
    log.info("%s: %d images are rebuilt on it", note, len(new))
    return wave_id


def _wanted(connection: Connection) -> dict[str, BaseMoved]:
    """The images that do not stand on the digest, and for which no rebuild is under way or was planned for it."""
    moved = bases.moved(connection)
    if not moved:
        return {}
    before = bases.planned(connection, {one.base.digest for one in moved.values()})
    under_way = {image for image, state in rebuilds.unsettled(connection).items() if state in OPEN}
    return {
        image: one for image, one in moved.items()
        if image not in under_way and (image, one.base.spec, one.base.digest) not in before
    }  # fmt: skip


def draft(
    connection: Connection, names: Iterable[str], settings: Settings, current: Iterable[str] = ()
) -> Draft:
    """The plan for these images, without those that rules keep; `current` stand on the digest already."""
    graph, rules = inventory.load(connection), settings.terms({}).rules
    ruled = {image: keeping_from_bases(rules, graph.image(image)) for image in names}
    images = [image for image, rule in ruled.items() if rule is None]
    drafted = planning.draft_by_hand(connection, graph, images, settings, below=False)
    plan = drafted.plan
    skipped = [Skipped(image, Skip.POLICY, rule.name) for image, rule in sorted(ruled.items()) if rule is not None]
    skipped += [Skipped(image, Skip.ALREADY_CURRENT) for image in sorted(current)]
    left = replace(plan, skipped=tuple(skipped), untouched=plan.untouched - len(skipped))
    return replace(drafted, plan=left)
