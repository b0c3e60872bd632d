"""What is open, why it waits, and when it will be done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from rebuilder.config import Settings
from rebuilder.domain import forecast
from rebuilder.domain.forecast import Forecast, Open
from rebuilder.domain.lifecycle import LIVE, State
from rebuilder.store import holds, progress
from rebuilder.store.holds import Held, Paused
from rebuilder.store.progress import OpenRebuild


@dataclass(frozen=True, slots=True)
class Expected:
    """All open rebuilds in the order of the queue, and the forecast on so many slots at this moment."""

    open: tuple[OpenRebuild, ...]
    forecast: Forecast
    values: tuple[Open, ...]
    held: Mapping[str, Held]
    paused: Paused | None
    slots: int
    limits: Mapping[str, int]
    now: float

    def in_state(self, *states: State) -> list[OpenRebuild]:
        """Those in these states, in the order of the queue."""
        return [found for found in self.open if found.entry.state in states]

    @property
    def live(self) -> list[OpenRebuild]:
        return self.in_state(*LIVE)

    def waits_for(self, found: OpenRebuild) -> str:
        """Why a queued rebuild has not started, in words: the first reason that the engine has not to start it."""
        live = {other.entry.image: other.entry.wave_id for other in self.live}
        image, stream = found.entry.image, found.entry.image.rpartition(":")[2]
        building = Counter(key.rpartition(":")[2] for key in live)
        if self.paused is not None:
            return f"all builds are paused by {self.paused}"
        if image in self.held:
            return f"the image is held by {self.held[image]}"
        if image in live:
            return f"another build of the image runs, in wave {live[image]}"
        if found.not_before > self.now:
            after = f": {found.entry.reason}" if found.entry.reason else ""
            return f"tried again in {round(found.not_before - self.now)} s, after trouble{after}"
        if stream in self.limits and building[stream] >= self.limits[stream]:
            return f"stream {stream} has its {self.limits[stream]} builds"
        if len(live) >= self.slots:
            return f"all {self.slots} slots are taken" if self.slots > 1 else "the only slot is taken"
        return "it starts with the engine's next pass"


def read(connection: Connection, settings: Settings, now: float) -> Expected:
    """What is open now, and when it will be done."""
    held, paused = holds.held(connection, now), holds.paused(connection)
    found = progress.open_ones(connection)
    values = tuple(_value(item, held, paused is not None, now) for item in found)
    limits = {name: stream.max_builds for name, stream in settings.streams.items() if stream.max_builds is not None}
    slots = settings.slots
    return Expected(tuple(found), forecast.forecast(values, slots), values, held, paused, slots, limits, now)


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
