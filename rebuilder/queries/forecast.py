"""What is open, and when it will be done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from rebuilder.config import Settings
from rebuilder.domain import forecast
from rebuilder.domain.forecast import Forecast, Open
from rebuilder.domain.lifecycle import LIVE
from rebuilder.store import holds, open_rebuilds
from rebuilder.store.holds import Held, Paused
from rebuilder.store.open_rebuilds import OpenRebuild


@dataclass(frozen=True, slots=True)
class Expected:
    """All open rebuilds in the order of the queue, when they will be done, and what stands in their way."""

    open: tuple[OpenRebuild, ...]
    forecast: Forecast
    values: tuple[Open, ...]
    held: Mapping[str, Held]
    paused: Paused | None

    @property
    def live(self) -> list[OpenRebuild]:
        """Those that use a slot."""
        return [found for found in self.open if found.entry.state in LIVE]


NOTHING = Expected((), Forecast({}, frozenset()), (), {}, None)


def read(connection: Connection, settings: Settings, now: float) -> Expected:
    """What is open now, and when it will be done."""
    held, paused = holds.held(connection, now), holds.paused(connection, now)
    found = open_rebuilds.open_ones(connection)
    values = tuple(_value(item, held, paused is not None, now) for item in found)
    return Expected(tuple(found), forecast.forecast(values, settings.slots), values, held, paused)


def expected(connection: Connection, settings: Settings, now: float) -> dict[int, float]:
    """When each open rebuild that does not stand is expected to end, by its id; all of them share the slots."""
    found = read(connection, settings, now)
    return {ident: now + seconds for ident, seconds in found.forecast.done_in.items()}


def _value(found: OpenRebuild, held: Mapping[str, Held], paused: bool, now: float) -> Open:
    entry = found.entry
    live = entry.state in LIVE
    return Open(
        entry.id, found.after, entry.state, found.seconds, found.rank,
        running=max(0.0, now - entry.started_at) if live and entry.started_at is not None else 0.0,
        stands=not live and (paused or entry.image in held),
    )
