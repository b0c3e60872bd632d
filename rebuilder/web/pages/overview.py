"""The overview: what runs, what waits and why, what went wrong, the last waves, and whether all parts are well."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from fastapi import APIRouter, Request, Response
from msgspec import Struct
from sqlalchemy import Connection

from rebuilder.domain.forecast import Eta
from rebuilder.domain.lifecycle import State
from rebuilder.queries import attention, forecast, image_state, queue
from rebuilder.queries.forecast import Expected
from rebuilder.store import actions, changes, open_rebuilds, waves
from rebuilder.store.waves import WaveEntry
from rebuilder.web import health
from rebuilder.web.dependencies import Configured, Reader
from rebuilder.web.pages.charts import Part, parts
from rebuilder.web.pages.rendering import PageRoute, page

RECENT, HEAD, FAILURES, RUNNING = 8, 8, 10, 50

router = APIRouter(route_class=PageRoute)


class WaveLine(Struct, frozen=True):
    """A wave in a list: how far it is, the changes it takes up (id and source build), and when it should be done."""

    wave: WaveEntry
    counts: Mapping[State, int]
    bar: Sequence[Part]
    changes: Sequence[tuple[int, str]]
    eta: Eta | None
    unknown: bool

    @property
    def total(self) -> int:
        """How many rebuilds the wave has."""
        return sum(self.counts.values())


def wave_lines(connection: Connection, entries: Sequence[WaveEntry], open_: Expected) -> list[WaveLine]:
    """These waves as lines of a list."""
    ids = [wave.id for wave in entries]
    counts, taken_up = open_rebuilds.counts_of(connection, ids), open_rebuilds.changes_of(connection, ids)
    members: dict[int, list[int]] = {}
    for item in open_.open:
        members.setdefault(item.entry.wave_id, []).append(item.entry.id)
    return [
        WaveLine(wave, counts[wave.id], parts(counts[wave.id]), taken_up[wave.id],
                 open_.forecast.of(members.get(wave.id, ())),
                 not open_.forecast.unknown.isdisjoint(members.get(wave.id, ())))
        for wave in entries
    ]


@router.get("/")
def overview(request: Request, connection: Reader, settings: Configured) -> Response:
    """What goes on now."""
    now = time.time()
    open_ = forecast.read(connection, settings, now)
    failed = open_rebuilds.stopped(connection, FAILURES + 1)
    return page(
        request, "overview.html", connection, live="",
        open=open_,
        running=open_.live[:RUNNING],
        slots=settings.slots,
        queue=queue.read(connection, settings, now, HEAD),
        waiting=sum(item.entry.state is State.WAITING for item in open_.open),
        failed=failed[:FAILURES],
        more_failed=len(failed) > FAILURES,
        waves=wave_lines(connection, waves.latest(connection, RECENT), open_),
        settling=changes.settling(connection),
        asked=actions.requested(connection),
        needs=attention.read(connection, image_state.read(connection, settings, now), settings, now),
        health=health.seen(connection, request.app.state.broker, now),
    )
