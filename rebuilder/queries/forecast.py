"""What is open, and when it will be done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from rebuilder.config import Settings
from rebuilder.domain import forecast
from rebuilder.domain.experience import Experience, Observed, factors_of, pace_of
from rebuilder.domain.forecast import Forecast, Open
from rebuilder.domain.lifecycle import LIVE, UNDER_WAY
from rebuilder.store import heartbeats, holds, open_rebuilds
from rebuilder.store.holds import Held, Paused
from rebuilder.store.open_rebuilds import OpenRebuild
from rebuilder.store.read_cache import cached


@dataclass(frozen=True, slots=True)
class Expected:
    """All open rebuilds in the order of the queue, when they will be done, and what stands in their way.

    Where the engine has `stopped`, all stands still: no build begins, and of none is it noticed that it ended.

    `paced` has the seconds that each build is expected to take at the pace of its wave; `overdue` those that take
    longer than nearly all do.
    """

    open: tuple[OpenRebuild, ...]
    forecast: Forecast
    values: tuple[Open, ...]
    held: Mapping[str, Held]
    paused: Paused | None
    paced: Mapping[int, float]
    overdue: frozenset[int]
    stopped: bool = False

    @property
    def live(self) -> list[OpenRebuild]:
        """Those that use a slot."""
        return [found for found in self.open if found.entry.state in LIVE]


NOTHING = Expected((), Forecast((), frozenset()), (), {}, None, {}, frozenset())


def read(connection: Connection, settings: Settings, now: float) -> Expected:
    """What is open now, and when it will be done: as of the last whole second, so that all who ask in it share it."""
    at = float(int(now))
    held, paused = holds.held(connection, at), holds.paused(connection, at)
    stopped = heartbeats.engine_stopped(connection, at) is not None
    return cached(
        connection, ("forecast", settings.slots), lambda: _read(connection, settings.slots, held, paused, stopped, at),
        of=at,
    )


def _read(
    connection: Connection, slots: int, held: Mapping[str, Held], paused: Paused | None, stopped: bool, now: float
) -> Expected:
    found = open_rebuilds.open_ones(connection)
    if not found:
        return Expected((), NOTHING.forecast, (), held, paused, {}, frozenset())
    values = tuple(_value(item, held, paused is not None, stopped, now) for item in found)
    known = _experience(connection, values)
    return Expected(
        found, forecast.forecast(values, slots, known), values, held, paused,
        {value.id: value.seconds * known.pace(value.wave).factor for value in values},
        frozenset(value.id for value in values if value.overdue(known)), stopped,
    )


def _experience(connection: Connection, values: Sequence[Open]) -> Experience:
    """What the open waves have shown, by their builds that ended and that run, and what the last builds did.

    A wave that has shown nothing yet goes as the others do: builders are slow for all.
    """
    seen = _seen(connection, values)
    everywhere = [one for found in seen.values() for one in found]
    paces = {wave: pace_of(found or everywhere) for wave, found in seen.items()}
    last = cached(connection, "builds that ended last", lambda: open_rebuilds.ended_last(connection))
    return Experience(paces, factors_of((one.wave, one.ratio) for one in last))


def _seen(connection: Connection, values: Sequence[Open]) -> dict[int, list[Observed]]:
    """What each open wave has shown."""
    found: dict[int, list[Observed]] = {value.wave: [] for value in values}
    waves = tuple(found)
    for ended in cached(connection, ("ended", waves), lambda: open_rebuilds.ended_in(connection, waves)):
        found[ended.wave].append(Observed(ended.ratio))
    for value in values:
        if value.running and value.seconds:
            found[value.wave].append(Observed(value.running / value.seconds, ended=False))
    return found


def expected(connection: Connection, settings: Settings, now: float) -> dict[int, float]:
    """When each open rebuild that is known of is expected to end, by its id; all of them share the slots."""
    found = read(connection, settings, now)
    return {ident: now + seconds for ident, seconds in found.forecast.done_in.items()}


def _value(found: OpenRebuild, held: Mapping[str, Held], paused: bool, stopped: bool, now: float) -> Open:
    entry = found.entry
    live = entry.state in UNDER_WAY
    begun = entry.begun_at or entry.started_at
    return Open(
        entry.id, found.after, entry.state, found.seconds, found.rank,
        running=max(0.0, now - begun) if entry.state in LIVE and begun is not None else 0.0,
        stands=stopped or (not live and (paused or entry.image in held)), wave=entry.wave_id,
    )
