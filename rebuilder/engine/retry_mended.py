"""What failed, and was mended at its source since."""

from __future__ import annotations

import logging

from rebuilder.domain.lifecycle import Retried
from rebuilder.store import inventory, pins, plan_acceptance, rebuilds
from rebuilder.store.transitions import Transitions

log = logging.getLogger(__name__)
SHOWN = 12  # characters of a commit or a digest


def retry(transitions: Transitions) -> int:
    """What failed, and whose source has changed since, begins anew; how many. With the same source it fails again.

    Each is tried once for each change: it is dispatched with the new source, and fails with that one then.
    """
    connection = transitions.connection
    failed = rebuilds.failed(connection)
    versions = inventory.source_versions(connection, [entry.image_id for entry, _ in failed]) if failed else {}
    happened = []
    for entry, old in failed:
        new = versions[entry.image_id]
        if new not in ("", old):
            reason = f"its source has changed since it failed, from {old[:SHOWN]} to {new[:SHOWN]}: tried again, once"
            key = plan_acceptance.key_of(entry.image, entry.wave_id, transitions.now, entry.key)
            happened.append((entry, Retried(reason, key=key)))
            log.info("%s: %s", entry.image, reason)
    transitions.apply(happened)
    for entry, _ in happened:
        pins.forget(connection, entry)
    return len(happened)
