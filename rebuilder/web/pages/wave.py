"""A wave: how far it is and when it will be done, its failures first, its time line, its graph, and its causes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from msgspec import Struct
from sqlalchemy import Connection

from rebuilder.config import Settings
from rebuilder.domain import graph_svg
from rebuilder.domain.forecast import Eta, critical_path
from rebuilder.domain.impact import Reason
from rebuilder.domain.lifecycle import OPEN, PENDING, UNDER_WAY, RebuildRecord, State
from rebuilder.engine import planning
from rebuilder.engine.planning import Assumptions
from rebuilder.queries import forecast
from rebuilder.queries.forecast import Expected
from rebuilder.store import causes, deliveries, open_rebuilds, rebuilds, waves
from rebuilder.store.open_rebuilds import OpenRebuild
from rebuilder.store.waves import WaveEntry
from rebuilder.web.dependencies import Configured, Reader
from rebuilder.web.pages import charts, wave_graph
from rebuilder.web.pages.charts import Bar, Branch, Scale
from rebuilder.web.pages.rendering import PageRoute, page
from rebuilder.web.pages.wave_graph import WaveGraph
from rebuilder.web.parameters import Text

ROWS, ROW_HEIGHT, DRAWN, LISTED = 60, 36, 120, 20

router = APIRouter(route_class=PageRoute)


class Row(Struct, frozen=True):
    """A rebuild in the time line: where it stands in the tree, why it is there, and when it ran or should run."""

    entry: RebuildRecord
    branch: Branch
    reasons: Sequence[Reason]
    bar: Bar | None
    critical: bool
    took: float | None


class View(Struct, frozen=True):
    """A wave that has begun. `path` is the chain of builds that decides when it will be done."""

    entries: Sequence[RebuildRecord]
    parents: Mapping[str, Sequence[str]]
    open: Expected
    scale: Scale
    path: Sequence[OpenRebuild]
    eta: Eta | None
    standing: int
    unknown: int

    @property
    def states(self) -> dict[str, str]:
        """The state of each image's rebuild."""
        return {entry.image: str(entry.state) for entry in self.entries}


def read(connection: Connection, wave: WaveEntry, settings: Settings, now: float) -> View:
    """All of a wave that a page tells, but for its causes."""
    entries = rebuilds.of_wave(connection, wave.id)
    names = {entry.id: entry.image for entry in entries}
    open_ = _forecast(connection, entries, settings, now)
    mine = {value.id: value for value in open_.values if value.id in names}
    by_id = {item.entry.id: item for item in open_.open}
    end = now + _last_done_in(open_, mine) if mine else _last_end(entries, now)
    path = [by_id[ident] for ident in critical_path(list(mine.values()), open_.forecast)]
    standing = len(open_.forecast.standing & mine.keys())
    scale = Scale(min(_first_start(entries, wave.created_at), wave.created_at), end, now)
    eta, unknown = open_.forecast.of(list(mine)), len(open_.forecast.unknown & mine.keys())
    parents = _in_order(_parents(connection, wave.id, names))
    return View(entries, parents, open_, scale, path, eta, standing, unknown)


def _parents(connection: Connection, wave_id: int, names: Mapping[int, str]) -> dict[str, Sequence[str]]:
    """The images of the wave that each of its images waits for; `names` has the images by their rebuilds."""
    above = open_rebuilds.parents_in(connection, wave_id)
    return {image: [names[parent] for parent in above.get(ident, ())] for ident, image in names.items()}


def _last_done_in(open_: Expected, rebuild_ids: Iterable[int]) -> float:
    """In how many seconds the last of these rebuilds should be done; 0 where that is known of none."""
    done_in = open_.forecast.done_in
    return max((done_in[ident] for ident in rebuild_ids if ident in done_in), default=0.0)


def _forecast(connection: Connection, entries: Iterable[RebuildRecord], settings: Settings, now: float) -> Expected:
    """Nothing is forecast for a wave that is over."""
    if any(entry.state in OPEN for entry in entries):
        return forecast.read(connection, settings, now)
    return forecast.NOTHING


def _first_start(entries: Iterable[RebuildRecord], planned: float) -> float:
    """When the first build began; when the wave was planned, where none has."""
    return min((entry.started_at for entry in entries if entry.started_at is not None), default=planned)


def _last_end(entries: Iterable[RebuildRecord], now: float) -> float:
    return max((entry.ended_at for entry in entries if entry.ended_at is not None), default=now)


def _in_order(parents: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    """Parents first: an edge that came later may lead to an image of the same level."""
    ordered: dict[str, Sequence[str]] = {}
    waiting = list(parents)
    while waiting:
        ready = [key for key in waiting if all(parent in ordered for parent in parents[key])]
        ordered.update((key, parents[key]) for key in ready)
        waiting = [key for key in waiting if key not in ordered]
        assert ready, "rebuilds wait for each other"
    return ordered


def _rows(connection: Connection, view: View, first: int) -> list[Row]:
    """A part of the rebuilds as a tree, from that row on."""
    entries = {entry.image: entry for entry in view.entries}
    branches = charts.tree(view.parents)[first : first + ROWS]
    reasons = causes.reasons_of(connection, [entries[branch.key].id for branch in branches])
    critical = {item.entry.id for item in view.path}
    return [
        Row(entry, branch, reasons.get(entry.id, ()), _bar(entry, view), entry.id in critical,
            _took(entry, view.scale.now))
        for branch in branches
        for entry in (entries[branch.key],)
    ]


def _took(entry: RebuildRecord, now: float) -> float | None:
    if entry.started_at is None or entry.state in PENDING:
        return None
    return (now if entry.state in UNDER_WAY or entry.ended_at is None else entry.ended_at) - entry.started_at


def _bar(entry: RebuildRecord, view: View) -> Bar | None:
    """When it ran; for one that is to come, when it is expected to."""
    if entry.state in PENDING:
        done_in = view.open.forecast.done_in.get(entry.id)
        if done_in is None:
            return None
        end = view.scale.now + done_in
        return view.scale.bar(end - view.open.paced[entry.id], end, ahead=True)
    took = _took(entry, view.scale.now)
    if took is None or entry.started_at is None:
        return None
    return view.scale.bar(entry.started_at, entry.started_at + took)


def _blocked_below(view: View, failed: Sequence[RebuildRecord]) -> dict[int, int]:
    """How many blocked rebuilds of the wave there are below each of these."""
    children: dict[str, list[str]] = {}
    for key, above in view.parents.items():
        for parent in above:
            children.setdefault(parent, []).append(key)
    blocked = {entry.image for entry in view.entries if entry.state is State.BLOCKED}
    counts = {}
    for entry in failed:
        below, todo = set(), [entry.image]
        while todo:
            fresh = [key for key in children.get(todo.pop(), ()) if key not in below]
            below.update(fresh)
            todo += fresh
        counts[entry.id] = len(below & blocked)
    return counts


def _drawing(view: View, opened: Sequence[str]) -> WaveGraph | None:
    """The graph; of many images with a box for each layer and state."""
    if not any(view.parents.values()):
        return None
    path = [item.entry.image for item in view.path]
    if len(view.entries) > DRAWN:
        return wave_graph.collapsed(view.entries, view.parents, opened, path)
    return WaveGraph(graph_svg.draw(view.parents, view.states, path), {}, {})


@router.get("/waves/{wave_id:int}")
def wave(
    request: Request, wave_id: int, connection: Reader, settings: Configured,
    row: Annotated[int, Query(ge=0, lt=waves.LARGEST)] = 0,
    open_: Annotated[tuple[Text, ...], Query(alias="open", max_length=10)] = (),
) -> Response:
    """One wave: its time line from a row on, and its graph with some boxes open."""
    now = time.time()
    record = waves.find(connection, wave_id)
    noticed = waves.changes_of(connection, wave_id)
    if record.state == "planned":
        pending = [item.change for item in noticed]
        plan = planning.draft(connection, pending, settings, now, Assumptions(approved=True)).plan
        return page(request, "planned.html", connection, wave=record, changes=noticed, plan=plan,
                    live=f"wave={wave_id}")
    view = read(connection, record, settings, now)
    counts = open_rebuilds.counts_of(connection, [wave_id])[wave_id]
    failed = [entry for entry in view.entries if entry.state in (State.FAILED, State.CANCELED)]
    first = max(0, min(row, len(view.entries) - ROWS))
    return page(
        request, "wave.html", connection, live=f"wave={wave_id}",
        wave=record, changes=noticed, view=view, counts=counts, bar_parts=charts.parts(counts), failed=failed,
        waiting=deliveries.waiting_of_wave(connection, wave_id),
        listed=LISTED, behind=_blocked_below(view, failed[:LISTED]), graph=_drawing(view, open_),
        rows=_rows(connection, view, first), first=first, size=ROWS, row_height=ROW_HEIGHT,
    )
