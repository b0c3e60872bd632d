"""What is open, and when it will be done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct
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


class Expected(Struct, frozen=True):
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
        return [rebuild for rebuild in self.open if rebuild.entry.state in LIVE]


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
    rebuilds = open_rebuilds.open_ones(connection)
    if not rebuilds:
        return Expected((), NOTHING.forecast, (), held, paused, {}, frozenset())
    values = tuple(_value(item, held, paused is not None, stopped, now) for item in rebuilds)
    experience = _experience(connection, values)
    return Expected(
        rebuilds, forecast.forecast(values, slots, experience), values, held, paused,
        {value.id: value.seconds * experience.pace(value.wave).factor for value in values},
        frozenset(value.id for value in values if value.overdue(experience)), stopped,
    )


def _experience(connection: Connection, values: Sequence[Open]) -> Experience:
    """What the open waves have shown, by their builds that ended and that run, and what the last builds did.

    A wave that has shown nothing yet goes as the others do: builders are slow for all.
    """
    seen = _seen(connection, values)
    everywhere = [one for observed in seen.values() for one in observed]
    paces = {wave: pace_of(observed or everywhere) for wave, observed in seen.items()}
    last = cached(connection, "builds that ended last", lambda: open_rebuilds.ended_last(connection))
    return Experience(paces, factors_of((one.wave, one.ratio) for one in last))


def _seen(connection: Connection, values: Sequence[Open]) -> dict[int, list[Observed]]:
    """What each open wave has shown."""
    observed: dict[int, list[Observed]] = {value.wave: [] for value in values}
    waves = tuple(observed)
    for ended in cached(connection, ("ended", waves), lambda: open_rebuilds.ended_in(connection, waves)):
        observed[ended.wave].append(Observed(ended.ratio))
    for value in values:
        if value.running and value.seconds:
            observed[value.wave].append(Observed(value.running / value.seconds, ended=False))
    return observed


def expected(connection: Connection, settings: Settings, now: float) -> dict[int, float]:
    """When each open rebuild that is known of is expected to end, by its id; all of them share the slots."""
    open_ = read(connection, settings, now)
    return {ident: now + seconds for ident, seconds in open_.forecast.done_in.items()}


def _value(rebuild: OpenRebuild, held: Mapping[str, Held], paused: bool, stopped: bool, now: float) -> Open:
    entry = rebuild.entry
    live = entry.state in UNDER_WAY
    begun = entry.begun_at or entry.started_at
    return Open(
        entry.id, rebuild.after, entry.state, rebuild.seconds, rebuild.rank,
        running=max(0.0, now - begun) if entry.state in LIVE and begun is not None else 0.0,
        stands=stopped or (not live and (paused or entry.image in held)), wave=entry.wave_id,
    )
