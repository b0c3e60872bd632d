"""What needs attention: what goes on by itself is not in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from sqlalchemy import Connection

from rebuilder.config import Settings
from rebuilder.domain.currency import Currency, ImageState
from rebuilder.domain.image_name import stream_of
from rebuilder.domain.lifecycle import State
from rebuilder.queries.answer import Answer
from rebuilder.queries.image_state import sentence
from rebuilder.queries.moment import Moment, moment
from rebuilder.store import deliveries, heartbeats, lease, open_rebuilds, rollbacks, verdicts, waves
from rebuilder.store.heartbeats import HeartbeatEntry
from rebuilder.store.verdicts import PendingVerdict

NAMED, LISTED = 5, open_rebuilds.STOPPED_SHOWN


class Need(Answer):
    """Something that needs attention: `kind` is engine, problem, failure, approval, gate,
    promotion, rollback, hold, or unknown.

    `what` says it in one line, and `do` what to do. `images` names some of the `count` images it is about; `since` is
    null where it is unknown. `link` is where a browser finds more.
    """

    kind: str
    what: str
    do: str
    severity: str | None = None
    since: Moment | None = None
    count: int = 0
    images: tuple[str, ...] = ()
    link: str


class EngineState(Answer):
    """Whether an engine gets on, when one last did (null where none is known), and which acts."""

    alive: bool
    seen: Moment | None
    process: str | None


def engine(connection: Connection, now: float) -> EngineState:
    """Whether an engine gets on."""
    beat = heartbeats.read(connection).get("engine")
    return EngineState(
        alive=beat is not None and not beat.late(now),
        seen=moment(beat.at if beat else lease.let_go(connection)),
        process=lease.read(connection).owner or None,
    )


def read(
    connection: Connection, states: Mapping[str, ImageState], settings: Settings, now: float
) -> tuple[Need, ...]:
    """All that needs attention, the most pressing first. `states` has what every image is."""
    by_hand = settings.promote == "manual"
    beats = heartbeats.read(connection)
    needs = [*_engine(connection, beats, now), *_problems(beats), *_failures(connection)]
    needs += [*_approvals(connection), *_gates(connection, settings, now)]
    needs += _promotions(connection) if by_hand else ()
    return (*needs, *_rollbacks(connection), *_holds(states), *_unknown(states))


def _engine(connection: Connection, beats: Mapping[str, HeartbeatEntry], now: float) -> Iterator[Need]:
    """Whether one gets on. One that ended as it was told to leaves no beat, but its lease."""
    beat = beats.get("engine")
    if beat is None:
        yield Need(kind="engine", what="no engine is running: nothing is planned or built",
                   do="start `rebuilder run`", since=moment(lease.let_go(connection)), link="/#health")  # fmt: skip
    elif beat.late(now):
        yield Need(kind="engine", what="the engine has stopped: nothing is planned or built",
                   do="see its log, and start it again", since=moment(beat.at), link="/#health")  # fmt: skip


def _problems(beats: Mapping[str, HeartbeatEntry]) -> Iterator[Need]:
    """What cannot be reached, or read: the builder, Koji, the inventory's files."""
    for problem in heartbeats.problems(beats):
        yield Need(kind="problem", what=f"{problem.what}: {problem.reason}", do="mend it; it is tried again by itself",
                   since=moment(problem.since), link="/#health")  # fmt: skip


def _failures(connection: Connection) -> Iterator[Need]:
    failed = [one for one in open_rebuilds.stopped(connection, LISTED) if one.state is State.FAILED]
    if failed:
        more = "+" if len(failed) == LISTED else ""
        yield Need(
            kind="failure", what=f"the last rebuild of {len(failed)}{more} image{_s(failed)} failed",
            do="read the log, mend it, then `rebuilder retry IMAGE`", link="/#failed",
            since=moment(min(one.ended_at or one.created_at for one in failed)),
            count=len(failed), images=_some(one.image for one in failed),
        )  # fmt: skip


def _approvals(connection: Connection) -> Iterator[Need]:
    for wave in waves.unapproved(connection):
        yield Need(kind="approval", what=f"wave {wave.id} waits for approval, by rule {wave.rule}",
                   do=f"`rebuilder approve {wave.id}`", since=moment(wave.created_at),
                   link=f"/waves/{wave.id}")  # fmt: skip


def _gates(connection: Connection, settings: Settings, now: float) -> Iterator[Need]:
    """The images whose new builds wait for somebody else's answer, and those that got none in time.

    One whose gate has a time limit is left out until that is over: its answer may still come by itself.
    """
    limits = {name: stream.gate_timeout for name, stream in settings.streams.items() if stream.gate_timeout}
    waiting, late = [], []
    for one in verdicts.gated(connection):
        limit = limits.get(stream_of(one.image))
        if limit is None:
            waiting.append(one)
        elif now - one.since > limit:
            late.append(one)
    yield from _gate(late, "{} got no answer from the gate in time", "ask the CI, or `rebuilder gate IMAGE pass|fail`")
    yield from _gate(waiting, "{} wait{} for a gate", "`rebuilder gate IMAGE pass|fail`")


def _gate(waiting: Sequence[PendingVerdict], what: str, do: str) -> Iterator[Need]:
    if waiting:
        images = sorted({one.image for one in waiting})
        counted = f"{len(images)} image{_s(images)}"
        yield Need(kind="gate", what=what.format(counted, _verb(images)), do=do, count=len(images),
                   images=_some(images), since=moment(min(one.since for one in waiting)), link="/waves")  # fmt: skip


def _promotions(connection: Connection) -> Iterator[Need]:
    """The images whose new builds are good, and that people do not get yet."""
    waiting = deliveries.waiting(connection)
    if waiting:
        images = sorted({one.image for one in waiting})
        waves_of = " ".join(str(wave) for wave in sorted({one.wave_id for one in waiting if one.wave_id is not None}))
        yield Need(kind="promotion", what=f"{len(images)} image{_s(images)} wait{_verb(images)} to be promoted",
                   do=f"`rebuilder promote IMAGE`, or `rebuilder promote {waves_of}`", count=len(images),
                   images=_some(images), since=moment(min(one.since for one in waiting)), link="/waves")  # fmt: skip


def _verb(images: Sequence[str]) -> str:
    return "s" if len(images) == 1 else ""


def _rollbacks(connection: Connection) -> Iterator[Need]:
    """The images that have an earlier build since one was taken back."""
    for rollback in rollbacks.standing(connection).values():
        yield Need(kind="rollback", what=f"{rollback.image}: {rollback}",
                   do=f"mend it, then `rebuilder release {rollback.image}`", since=moment(rollback.at), count=1,
                   images=(rollback.image,), link=f"/images/{rollback.image}")  # fmt: skip


def _holds(states: Mapping[str, ImageState]) -> Iterator[Need]:
    """The images on hold that lack a security fix, or of which that is unknown."""
    for state in states.values():
        if state.state is Currency.HELD and state.is_risky:
            severity = str(state.severity) if state.severity else None
            yield Need(kind="hold", what=f"{state.image} is {sentence(state)}",
                       do=f"`rebuilder release {state.image}`", severity=severity,
                       since=moment(state.since), count=1, images=(state.image,),
                       link=f"/images/{state.image}")  # fmt: skip


def _unknown(states: Mapping[str, ImageState]) -> Iterator[Need]:
    unknown = [state.image for state in states.values() if state.state is Currency.UNKNOWN]
    if unknown:
        yield Need(kind="unknown", what=f"the contents of {len(unknown)} image{_s(unknown)} are unknown",
                   do="make their builds: `rebuilder rebuild --unknown`", count=len(unknown), images=_some(unknown),
                   link="/images?state=unknown")  # fmt: skip


def _s(several: Sequence[object]) -> str:
    return "s" if len(several) > 1 else ""


def _some(images: Iterable[str]) -> tuple[str, ...]:
    return tuple(islice(images, NAMED))
