"""Pruning: what is old goes, from the database and from what builds leave on this machine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from sqlalchemy import Connection, Engine

from rebuilder.builders.leftovers import InUse
from rebuilder.builders.plugin import plugin_of
from rebuilder.config import Settings
from rebuilder.store import retention
from rebuilder.store.retention import Access
from rebuilder.store.retention_rules import Limits

DAY = 86400.0


def prune(engine: Engine, settings: Settings, now: float) -> dict[str, int]:
    """Delete all that is old, in small batches; how much of each kind. Raises StorageError."""
    return _prune(Access(engine), settings, now, rehearsing=False)


def rehearse(engine: Engine, settings: Settings, now: float) -> dict[str, int]:
    """How much of each kind `prune` would delete. Raises StorageError."""
    with retention.rehearsing(engine) as access:
        return _prune(access, settings, now, rehearsing=True)


def _prune(access: Access, settings: Settings, now: float, *, rehearsing: bool) -> dict[str, int]:
    days = settings.retention
    limits = Limits(
        now - days.history_days * DAY, now - days.message_days * DAY, now - days.notification_days * DAY,
        now - days.build_days * DAY, now,
    )  # fmt: skip
    gone = retention.prune(access, limits)

    def lookup(query: Callable[[Connection, Sequence[str]], set[str]]) -> Callable[[Sequence[str]], Collection[str]]:
        def look(names: Sequence[str]) -> Collection[str]:
            with access.reading() as connection:
                return query(connection, names)

        return look

    in_use = InUse(lookup(retention.rebuilds_named), lookup(retention.builds_named))
    return gone | plugin_of(settings).clear(settings, limits.builds, in_use, rehearsing=rehearsing)
