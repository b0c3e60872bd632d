"""What came out of a build, and what follows from it."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from itertools import product

from msgspec import Struct
from sqlalchemy import Connection

from rebuilder.domain import checks, lifecycle
from rebuilder.domain.change import Change
from rebuilder.domain.checks import Checks
from rebuilder.domain.image import ImageBuild, Manifest
from rebuilder.domain.impact import Reason
from rebuilder.domain.lifecycle import Aborted, Built, Event, Failed, Proven, RebuildRecord, TakenOver, Tested, TimedOut
from rebuilder.domain.reasons import origin
from rebuilder.domain.rpm import Rpm, that_count
from rebuilder.engine.backoff import pause
from rebuilder.engine.naming import Names
from rebuilder.store import causes, deliveries, pushes, rebuild_dependencies, rebuilds, verdicts
from rebuilder.store.sync import make_current, record_builds
from rebuilder.store.transitions import Transitions
from rebuilder.store.verdicts import Answered


class Limits(Struct, frozen=True):
    """How often a rebuild is attempted, the first pause between attempts in seconds, and the moment to count from.

    `installonly` are the packages of which the newest counts.
    """

    max_attempts: int
    retry_seconds: float
    now: float
    installonly: tuple[str, ...]


NO_CHECKS = Checks()
NO_MANIFEST = "its manifest is unknown"


class Finished(Struct, frozen=True):
    """A rebuild whose build succeeded, and why the build's manifest is unknown where it is."""

    entry: RebuildRecord
    build: ImageBuild
    unread: str
    checks: Checks = NO_CHECKS


def built(
    transitions: Transitions, finished: Sequence[Finished], limits: Limits, names: Names | None = None
) -> Mapping[int, Event]:
    """Record builds of different images; prove that what each was made for is in it: what became of each, by its id.

    One in which it is not has failed with `not-updated`. `names` has the names of builds at a builder where these
    get them only when they are proven: there the build of a rebuild that failed becomes the current one of no
    image. One that is still to be tested is the current one of no image anywhere.
    """
    connection = transitions.connection
    reasons = causes.reasons_of(connection, [done.entry.id for done in finished], standing=True)
    by_name = names is not None
    faults = {done.entry.id: _fault(done, reasons.get(done.entry.id, ()), limits, by_name=by_name) for done in finished}
    ids = {done.entry.image: done.entry.image_id for done in finished}
    good = [done for done in finished if not faults[done.entry.id]]
    unproven = _unproven(finished, faults if by_name else {})
    recorded = record_builds(connection, [done.build for done in finished], ids, transitions.now, unproven=unproven)
    happened = [
        (done.entry, _event(connection, done, faults[done.entry.id], recorded[done.entry.image], limits))
        for done in finished
    ]
    transitions.apply(happened)
    _deliver(transitions, good, recorded, names)
    return {entry.id: event for entry, event in happened}


def _unproven(finished: Sequence[Finished], faults: Mapping[int, str]) -> set[str]:
    """The images whose new build is not their current one: nothing has said yet that it is good, or it is not."""
    return {done.entry.image for done in finished if done.checks.kinds or faults.get(done.entry.id)}


def _deliver(
    transitions: Transitions, good: Sequence[Finished], recorded: Mapping[str, int], names: Names | None
) -> None:
    """What follows from a proof: the build is checked, or gets its names at once."""
    connection, now = transitions.connection, transitions.now
    pushes.by_builder(connection, [recorded[done.entry.image] for done in good], now)
    proofs = [(done.entry, recorded[done.entry.image], done.checks) for done in good]
    verdicts.request(connection, proofs, now)
    if names:
        proven = [(entry, build) for entry, build, _ in proofs]
        free = [(entry, build) for entry, build, checks in proofs if not checks.kinds]
        requests = [*names.tested(connection, free, now), *names.proven(connection, proven, now)]
        deliveries.request(connection, requests, now)


def tested(transitions: Transitions, answers: Sequence[Answered], names: Names | None) -> Mapping[int, Event]:
    """What tests and gates said becomes the rebuilds' states: what became of each, by its id.

    A build that is good becomes its image's current one, and its names may move.
    """
    connection, now = transitions.connection, transitions.now
    happened: list[tuple[RebuildRecord, Event]] = [
        (one.entry, Failed(f"{checks.FAILED}: {one.fault}", build_id=one.build_id) if one.fault else Tested())
        for one in answers
    ]
    good = [(one.entry, one.build_id) for one in answers if not one.fault]
    make_current(connection, {entry.image_id: build_id for entry, build_id in good})
    transitions.apply(happened)
    pushes.by_builder(connection, [build_id for _, build_id in good], now)
    if names:
        deliveries.request(connection, names.tested(connection, good, now), now)
    return {entry.id: event for entry, event in happened}


def _event(connection: Connection, done: Finished, fault: str, build_id: int, limits: Limits) -> Event:
    """What the build means for its rebuild."""
    if fault and done.entry.adopted:
        return aborted(connection, done.entry, f"its build was of an earlier attempt: {fault}", limits)
    if fault:
        return Failed(fault, build_id=build_id)
    note = "" if done.build.manifest is not None else f"not verified: {done.unread}"
    return Proven(note, build_id=build_id) if done.checks.kinds else Built(note, build_id=build_id)


def _fault(done: Finished, reasons: Sequence[Reason], limits: Limits, *, by_name: bool) -> str:
    """Why the build is not what it was made for; "" where it is.

    Where a name waits for the proof, an update that cannot be looked for is none that was proven.
    """
    if by_name and done.build.manifest is None and any(reason.installed for reason in reasons):
        return f"not verified: {done.unread}"
    return not_updated(done.build, reasons, limits.installonly)


def not_updated(build: ImageBuild, reasons: Sequence[Reason], installonly: tuple[str, ...]) -> str:
    """Which RPMs are still older than the changes, and which layer they come from; nothing where all are current."""
    if build.manifest is None:
        return ""
    layers = {reason.installed: origin(reason) for reason in reasons}
    changes = {reason.change for reason in reasons}
    rpms = _rpms_of(build.manifest, {change.build.name for change in changes})
    lines = []
    for rpm, change in product(that_count(rpms, installonly), changes):
        if rpm.source == change.build.name and change.makes_stale(rpm):
            lines.append(_still_installed(rpm, change, layers.get(rpm.nevra, "")))
    return f"not-updated: {'; '.join(sorted(lines))}" if lines else ""


def _rpms_of(manifest: Manifest, sources: Container[str]) -> list[Rpm]:
    return [rpm for rpm in manifest.rpms if rpm.source in sources]


def _still_installed(rpm: Rpm, change: Change, layer: str) -> str:
    source = f" of {rpm.built_from}" if rpm.built_from else ""
    return f"{rpm.nevra}{source}{layer} is still installed; {change.build} is available"


def aborted(
    connection: Connection, entry: RebuildRecord, reason: str, limits: Limits, *, timed_out: bool = False
) -> Event:
    """The infrastructure ended the build: once more after a pause that grows, until the attempts are used up.

    Where a further rebuild of the image waits already, that one takes over: it gets the causes and the children.
    """
    heir = rebuilds.pending_successor(connection, entry)
    if heir is not None and not lifecycle.exhausted(entry, limits.max_attempts):
        rebuild_dependencies.transfer_causes(connection, entry, heir)
        return TakenOver(f"goes on in wave {heir.wave_id}: {reason}")
    kind = TimedOut if timed_out else Aborted
    return kind(reason, again_at=limits.now + pause(entry.attempt - entry.spared, limits.retry_seconds))
