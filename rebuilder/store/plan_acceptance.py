"""A plan that was accepted becomes rebuilds of a wave, or joins those that have not begun."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, case, delete, insert, select, update

from rebuilder.domain.change import Change as ChangeValue
from rebuilder.domain.change import Severity, most_severe
from rebuilder.domain.impact import Reason
from rebuilder.domain.lifecycle import PENDING, ParentAdded, RebuildRecord, State
from rebuilder.domain.plan import Draft, Plan, PlannedRebuild
from rebuilder.domain.rpm import newest
from rebuilder.domain.schedule import inherited, paths_below, rank
from rebuilder.domain.topics import Notice, WaveFacts
from rebuilder.store import changes, outbox, pins, rebuilds, transitions, waves
from rebuilder.store.changes import StoredChange
from rebuilder.store.models import Cause, Image, Rebuild, RebuildEdge, Wave, WaveChange
from rebuilder.store.transitions import Transitions
from rebuilder.store.upsert import chunks, insert_new, refresh_statistics

MANY = 500  # new rebuilds, after which statistics from before say little
_PLACE = (
    update(Rebuild)
    .where(Rebuild.id == bindparam("of"))
    .values(
        severity=bindparam("worst"),
        rank=case((Rebuild.rank > bindparam("place"), bindparam("place")), else_=Rebuild.rank),
    )
)


def accept(
    connection: Connection, drafted: Draft, noticed: Sequence[StoredChange], now: float, approved: int | None = None,
    who: str = "",
) -> int | None:
    """Turn the plan into rebuilds; the id of the wave, or None where there was nothing new to make.

    An image with a rebuild that has not begun gets no second one: it joins, with its causes and parents.
    `approved` is the wave that was proposed for these changes, where there is one; `who` the operator who asked for it.
    """
    plan, seconds = drafted.plan, drafted.seconds
    pending = _by_image(rebuilds.in_states(connection, PENDING))
    fresh = [rebuild for rebuild in plan.rebuilds if rebuild.image not in pending]
    joined = [rebuild for rebuild in plan.rebuilds if rebuild.image in pending]
    ranks = _ranks(plan, seconds, now)
    wave_id, entries = _begun(connection, approved, bool(fresh), now), pending
    if wave_id:
        outbox.about_wave(connection, Notice.WAVE_PLANNED, wave_id, now, WaveFacts(state="running", who=who))
        _create(connection, wave_id, fresh, ranks, seconds, now)
        entries = pending | _by_image(rebuilds.of_wave(connection, wave_id))
    _link(connection, plan, entries)
    _cause(connection, plan, noticed, entries, {entries[rebuild.image].id for rebuild in joined})
    _join(connection, [(entries[rebuild.image], rebuild, *ranks[rebuild.image]) for rebuild in joined], now)
    pins.reopen(connection, ((entries[rebuild.image], rebuild.externals) for rebuild in joined))
    if len(fresh) > MANY:
        refresh_statistics(connection)
    return wave_id


def _by_image(entries: Iterable[RebuildRecord]) -> dict[str, RebuildRecord]:
    return {entry.image: entry for entry in entries}


def _begun(connection: Connection, approved: int | None, needed: bool, now: float) -> int | None:
    """The wave that is approved, running from now on; else a new one, where one is needed."""
    if approved is not None:
        connection.execute(update(Wave).where(Wave.id == approved).values(state="running"))
        return approved
    return waves.create(connection, now, "running") if needed else None


def by_hand(
    connection: Connection, drafted: Draft, note: str, who: str, now: float
) -> tuple[int | None, list[str]]:
    """Rebuilds that an operator wants; the wave where there is a new one, and the images that wait already."""
    waiting = {entry.image for entry in rebuilds.in_states(connection, PENDING)}
    wave_id = accept(connection, drafted, [], now, who=who)
    images = [rebuild.image for rebuild in drafted.plan.rebuilds]
    ids, _ = _images(connection)
    for part in chunks([ids[image] for image in images], 500):
        pending = Rebuild.image_id.in_(part), Rebuild.state.in_(PENDING)
        connection.execute(update(Rebuild).where(*pending).values(note=note, asked_by=who))
    return wave_id, [image for image in images if image in waiting]


def _ranks(plan: Plan, seconds: Mapping[str, float], now: float) -> dict[str, tuple[Severity, float]]:
    """Severity, inherited upward from what waits below, and rank of every rebuild of the plan."""
    jobs = plan.jobs(seconds)
    severities = [rebuild.severity for rebuild in plan.rebuilds]
    return {
        rebuild.image: (worst, rank(now, worst, below))
        for rebuild, worst, below in zip(plan.rebuilds, inherited(jobs, severities), paths_below(jobs), strict=True)
    }


def _images(connection: Connection) -> tuple[dict[str, int], dict[str, int | None]]:
    rows = connection.execute(select(Image.key, Image.id, Image.current_build_id)).all()
    return {key: ident for key, ident, _ in rows}, {key: current for key, _, current in rows}


def _create(
    connection: Connection,
    wave_id: int,
    fresh: Sequence[PlannedRebuild[Reason]],
    ranks: Mapping[str, tuple[Severity, float]],
    seconds: Mapping[str, float],
    now: float,
) -> None:
    if not fresh:
        return
    ids, before = _images(connection)
    rows = [
        {
            "wave_id": wave_id,
            "image_id": ids[rebuild.image],
            "state": str(State.WAITING),
            "severity": str(ranks[rebuild.image][0]),
            "level": rebuild.level,
            "rank": ranks[rebuild.image][1],
            "key": key_of(rebuild.image, wave_id, now),
            "created_at": now,
            "expected": seconds.get(rebuild.image),
            "before_build_id": before[rebuild.image],
        }
        for rebuild in fresh
    ]
    for part in chunks([row["image_id"] for row in rows], 500):
        earlier = Rebuild.image_id.in_(part), ~Rebuild.superseded
        connection.execute(update(Rebuild).where(*earlier).values(superseded=True))
    connection.execute(insert(Rebuild), rows)
    made = rebuilds.of_wave(connection, wave_id)
    transitions.record(connection, [transitions.Step(entry.id, "planned", State.WAITING) for entry in made], now)


def key_of(image: str, wave_id: int, now: float, earlier: str = "") -> str:
    """The name that builders know a rebuild by: of its image, wave and moment, and a valid name everywhere.

    The moment keeps two databases that share a builder apart; the builder's limit is 63 characters. `earlier` is the
    key that it must not be mistaken for.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", image.lower()).strip("-")[:36].strip("-")
    digest = hashlib.sha256(f"{image} {wave_id} {now!r} {earlier}".encode()).hexdigest()[:12]
    return f"{slug or 'image'}-{digest}"


def _link(connection: Connection, plan: Plan, entries: Mapping[str, RebuildRecord]) -> None:
    edges = [
        {"rebuild_id": entries[rebuild.image].id, "parent_id": entries[parent].id}
        for rebuild in plan.rebuilds
        for parent in rebuild.depends_on
    ]
    for part in chunks(edges):
        insert_new(connection, RebuildEdge, part)


def _cause(
    connection: Connection,
    plan: Plan,
    noticed: Sequence[StoredChange],
    entries: Mapping[str, RebuildRecord],
    joined: Container[int],
) -> None:
    ids = {_key_of(item.change): item.id for item in noticed}
    causes: list[dict[str, Any]] = []
    for rebuild in plan.rebuilds:
        ident = entries[rebuild.image].id
        causes += [_cause_row(ident, ids[_key_of(reason.change)], reason) for reason in rebuild.reasons]
    causes = _without_outdated(connection, causes, joined)
    for part in chunks(causes):
        insert_new(connection, Cause, part)
    wave_of = {entry.id: entry.wave_id for entry in entries.values()}
    taken = {(wave_of[cause["rebuild_id"]], cause["change_id"]) for cause in causes}
    insert_new(connection, WaveChange, [{"wave_id": wave, "change_id": change} for wave, change in sorted(taken)])


def _without_outdated(
    connection: Connection, causes: list[dict[str, Any]], joined: Container[int]
) -> list[dict[str, Any]]:
    """The causes that no newer build makes pointless; pointless ones of the joined rebuilds are deleted, too."""
    outdated = _outdated(connection, [cause for cause in causes if cause["rebuild_id"] in joined])
    for rebuild_id, change_id in outdated:
        connection.execute(delete(Cause).where(Cause.rebuild_id == rebuild_id, Cause.change_id == change_id))
    return [cause for cause in causes if (cause["rebuild_id"], cause["change_id"]) not in outdated]


def _key_of(change: ChangeValue) -> tuple[str, str, str]:
    return change.build.name, change.stream, change.build.evr.version_release


def _cause_row(rebuild_id: int, change_id: int, reason: Reason) -> dict[str, Any]:
    return {
        "rebuild_id": rebuild_id,
        "change_id": change_id,
        "installed": reason.installed,
        "inherited_from": reason.inherited_from,
        "external": reason.external,
        "compared": reason.compared,
        "upgrades": reason.upgrades,
    }


def _outdated(connection: Connection, causes: Sequence[Mapping[str, Any]]) -> set[tuple[int, int]]:
    """Of these new causes and those that their rebuilds have already, the ones that a newer build makes pointless."""
    pairs = {(cause["rebuild_id"], cause["change_id"]) for cause in causes}
    for part in chunks(sorted({rebuild_id for rebuild_id, _ in pairs}), 500):
        query = select(Cause.rebuild_id, Cause.change_id).where(Cause.rebuild_id.in_(part)).distinct()
        pairs.update(connection.execute(query).tuples())
    by_id = changes.of_ids(connection, {change_id for _, change_id in pairs})
    groups: dict[tuple[int, str, str], list[int]] = {}
    for rebuild_id, change_id in sorted(pairs):
        change = by_id[change_id].change
        groups.setdefault((rebuild_id, change.build.name, change.stream), []).append(change_id)
    outdated: set[tuple[int, int]] = set()
    for (rebuild_id, _, _), ids in groups.items():
        evrs = {ident: by_id[ident].change.build.evr for ident in ids}
        best = newest(evrs.values())
        outdated.update((rebuild_id, ident) for ident, evr in evrs.items() if evr != best)
    return outdated


def _join(
    connection: Connection, joined: Sequence[tuple[RebuildRecord, PlannedRebuild[Reason], Severity, float]], now: float
) -> None:
    """A queued rebuild that got a parent waits again; the better place in the queue counts."""
    if not joined:
        return
    connection.execute(_PLACE, [
        {
            "of": entry.id,
            "worst": str(most_severe((Severity(entry.severity), severity))),
            "place": rank,
        }
        for entry, _, severity, rank in joined
    ])  # fmt: skip
    again = [
        (entry, ParentAdded())
        for entry, planned, *_ in joined
        if entry.state is State.QUEUED and planned.depends_on
    ]
    Transitions(connection, now).apply(again)
