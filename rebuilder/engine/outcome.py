"""How a build ended, and what follows from it."""

from __future__ import annotations

import random
from collections.abc import Sequence

from sqlalchemy import Connection

from rebuilder.config import Settings
from rebuilder.domain.affected import Reason
from rebuilder.domain.image import ImageBuild
from rebuilder.domain.lifecycle import PENDING, Effect, Event, State
from rebuilder.domain.schedule import lower_bound
from rebuilder.store import causes, progress, rebuilds, steps, tallies, waves
from rebuilder.store.steps import Move
from rebuilder.store.sync import record_builds
from rebuilder.store.tallies import Counted

LONGEST_PAUSE = 3600.0


def built(
    connection: Connection, found: Sequence[tuple[rebuilds.Entry, ImageBuild]], settings: Settings, now: float
) -> None:
    """Record builds of different images, and prove that what each was made for is in it.

    One in which it is not has failed with `not-updated`.
    """
    known = {entry.image: entry.image_id for entry, _ in found}
    recorded = record_builds(connection, [build for _, build in found], known, now)
    reasons = causes.reasons_of(connection, [entry.id for entry, _ in found])
    moves = []
    for entry, build in found:
        stayed = not_updated(build, reasons.get(entry.id, ()))
        if stayed and entry.adopted:
            aborted(connection, entry, f"its build was of an earlier attempt: {stayed}", settings, now)
            continue
        reason = stayed or ("" if build.manifest is not None else "not verified: its manifest is unknown")
        event = Event.FAILED if stayed else Event.BUILT
        moves.append(Move(entry, event, reason, values={"build_id": recorded[entry.image]}))
    effects = steps.move_all(connection, moves, now, settings.max_attempts)
    _succeeded(connection, [made.entry for made in moves if made.event is Event.BUILT], settings, now)
    for made, follow in zip(moves, effects, strict=True):
        _follow(connection, made.entry, follow, settings, now)


def _succeeded(connection: Connection, entries: Sequence[rebuilds.Entry], settings: Settings, now: float) -> None:
    rebuilds.measure(connection, [entry.image_id for entry in entries])
    for child in rebuilds.left_behind(connection, [entry.id for entry in entries]):
        unblock(connection, child, settings, now)


def not_updated(build: ImageBuild, reasons: Sequence[Reason]) -> str:
    """Which RPMs are still older than the changes, and which layer they come from; nothing where all are current."""
    if build.manifest is None:
        return ""
    layers = {reason.installed: f" (from {reason.inherited_from})" for reason in reasons if reason.inherited_from}
    changes = {reason.change for reason in reasons}
    stayed = sorted(
        f"{rpm.nevra}{layers.get(rpm.nevra, '')} stayed, {change.build} is offered"
        for rpm in build.manifest.rpms
        for change in changes
        if rpm.source == change.build.name and change.makes_stale(rpm)
    )
    return f"not-updated: {'; '.join(stayed)}" if stayed else ""


def failed(connection: Connection, entry: rebuilds.Entry, reason: str, settings: Settings, now: float) -> None:
    """The build is bad: what waits for it is blocked, everything else goes on."""
    _ended(connection, entry, Event.FAILED, reason or "the builder gave no reason", settings, now)


def canceled(
    connection: Connection, entry: rebuilds.Entry, reason: str, settings: Settings, now: float, who: str = ""
) -> None:
    """Somebody stopped the build: the operator `who`, or one whom only the builder knows."""
    _ended(connection, entry, Event.CANCELED, reason or "canceled at the builder", settings, now, who=who)


def aborted(connection: Connection, entry: rebuilds.Entry, reason: str, settings: Settings, now: float) -> None:
    """Trouble of the infrastructure: once more after a pause that grows, until the attempts are used up.

    Where a further rebuild of the image waits already, that one takes over; but what the builder may have under this
    one's key, it alone can find again.
    """
    again = now + pause(entry.attempt, settings.retry_seconds)
    heir = rebuilds.follower(connection, entry)
    if entry.attempt >= settings.max_attempts:
        told = f"gave up after {entry.attempt} attempts: {reason}"
        _ended(connection, entry, Event.ABORTED, told, settings, now)
    elif heir is None:
        _ended(connection, entry, Event.ABORTED, reason, settings, now, not_before=again)
    elif entry.state is State.SUBMITTING:
        rebuilds.postpone(connection, entry, again)
    else:
        rebuilds.hand_over(connection, entry, heir)
        _ended(connection, entry, Event.TAKEN_OVER, f"goes on in wave {heir.wave_id}: {reason}", settings, now)


def weigh(connection: Connection, wave_id: int, settings: Settings, now: float) -> None:
    """Keep how long a finished wave took, beside the least that its builds could have taken."""
    jobs = progress.jobs_of_wave(connection, wave_id)
    if jobs:
        took = now - waves.find(connection, wave_id).created_at
        least = lower_bound(jobs, settings.slots)
        tallies.add(connection, {"wave": {"makespan": Counted(1, took), "lower-bound": Counted(1, least)}})


def pause(attempt: int, first: float) -> float:
    """Seconds before the next attempt: doubled each time, bounded, and spread so that not all come back at once."""
    longest = min(first * 2.0 ** (attempt - 1), LONGEST_PAUSE)
    return longest * random.uniform(0.5, 1.0)


def retried(connection: Connection, entry: rebuilds.Entry, reason: str, settings: Settings, now: float) -> None:
    """Begin anew, under a new key: the builder still knows the old one. What it blocked goes on, or waits with it."""
    steps.move(
        connection, entry, Event.RETRIED, now, max_attempts=settings.max_attempts, reason=reason,
        key=waves.key_of(entry.image, entry.wave_id, now, entry.key), ref="", log="", not_before=0, started_at=None,
        ended_at=None, build_id=None,
    )
    stopped = rebuilds.stopped_parents(connection, entry.id)
    if stopped:
        steps.move(
            connection, rebuilds.fresh(connection, entry), Event.PARENT_STOPPED, now,
            max_attempts=settings.max_attempts, reason=f"{stopped[0].image} did not succeed",
        )
        return
    for child in rebuilds.blocked_children(connection, entry.id):
        unblock(connection, child, settings, now)


def unblock(connection: Connection, entry: rebuilds.Entry, settings: Settings, now: float) -> str:
    """Let a blocked rebuild, and what it blocks in turn, wait again; else the image that still blocks it.

    A rebuild that a later one of its image has taken over stays as it is: what waits for it waits for the later one.
    """
    if rebuilds.fresh(connection, entry).state is not State.BLOCKED:
        return ""
    if rebuilds.later(connection, entry) is None:
        stopped = rebuilds.stopped_parents(connection, entry.id)
        if stopped:
            return stopped[0].image
        steps.move(connection, entry, Event.PARENT_RESUMED, now, max_attempts=settings.max_attempts)
    for child in rebuilds.blocked_children(connection, entry.id):
        unblock(connection, child, settings, now)
    return ""


def _ended(
    connection: Connection, entry: rebuilds.Entry, event: Event, reason: str, settings: Settings, now: float,
    who: str = "", **values: float,
) -> None:
    effects = steps.move(
        connection, entry, event, now, max_attempts=settings.max_attempts, reason=reason, who=who, **values
    )
    _follow(connection, entry, effects, settings, now)


def _follow(
    connection: Connection, entry: rebuilds.Entry, effects: tuple[Effect, ...], settings: Settings, now: float
) -> None:
    if Effect.BLOCK_DESCENDANTS in effects:
        reason = f"{entry.image} did not succeed"
        below = [child for child in rebuilds.descendants(connection, entry.id) if child.state in PENDING]
        stopped = [Move(child, Event.PARENT_STOPPED, reason) for child in below]
        steps.move_all(connection, stopped, now, settings.max_attempts)
