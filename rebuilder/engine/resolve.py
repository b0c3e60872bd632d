"""Asks Koji what the changes are that messages told of: their epochs, and the RPMs that they were built into.

What a message says of that is a hint at most. While Koji is away, no change is planned: it would be a guess.
"""

from __future__ import annotations

import logging

from sqlalchemy import Engine

from rebuilder.inventory.koji import offers
from rebuilder.inventory.koji.hub import Hub
from rebuilder.inventory.koji.offers import Resolved
from rebuilder.store import changes
from rebuilder.store.changes import Noticed
from rebuilder.store.database import reading

log = logging.getLogger(__name__)


def resolve(engine: Engine, hub: Hub) -> int:
    """Complete the changes that Koji was not asked of yet; how many. Raises InfrastructureError.

    What Koji has no RPMs of, or not any more, is forgotten; what it does not know at all is taken as it was told.
    """
    with reading(engine) as connection:
        waiting = changes.unresolved(connection)
        known = changes.resolved(connection, (item.change.build.name for item in waiting))
    found = {
        change.build.nvr: Resolved(change.build, True, change.rpms) for change in known.values() if change.rpms
    }
    new = dict.fromkeys(item.change.build.nvr for item in waiting if item.change.build.nvr not in found)
    found |= offers.resolve(hub, new)
    if waiting:
        with engine.begin() as connection:
            for item in waiting:
                told = found.get(item.change.build.nvr)
                if told is None:
                    log.warning("Koji does not know %s: taken as it was told", item.change.build)
                    changes.resolve(connection, item.id, item.change.build.evr.epoch, ())
                elif _wanted(item, told):
                    changes.resolve(connection, item.id, told.build.evr.epoch, told.rpms)
                else:
                    changes.forget(connection, item.id)
    return len(waiting)


def _wanted(item: Noticed, told: Resolved) -> bool:
    if told.complete and told.rpms:
        return True
    log.info("%s is forgotten: %s", item.change, "no build of RPMs" if told.complete else "not complete in Koji")
    return False
