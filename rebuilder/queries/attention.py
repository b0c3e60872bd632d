"""What needs somebody: what goes on by itself is not in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import Connection

from rebuilder.domain.currency import Currency, ImageState
from rebuilder.domain.lifecycle import State
from rebuilder.queries.answer import Answer
from rebuilder.queries.image_state import sentence
from rebuilder.queries.moment import Moment, moment
from rebuilder.store import heartbeats, lease, open_rebuilds, waves
from rebuilder.store.heartbeats import HeartbeatEntry

NAMED, LISTED = 5, 200


class Need(Answer):
    """Something that needs somebody: `kind` is engine, problem, failure, approval, hold, or unknown.

    `what` says it in one line, and `do` what to do. `images` names some of the `count` images it is about; `since` is
    null where nobody knows. `link` is where a browser finds more.
    """

    kind: str
    what: str
    do: str
    severity: str | None
    since: Moment | None
    count: int
    images: tuple[str, ...]
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
        alive=beat is not None and not beat.late(now), seen=moment(beat.at) if beat else None,
        process=lease.read(connection).owner or None,
    )


def read(connection: Connection, states: Mapping[str, ImageState], now: float) -> tuple[Need, ...]:
    """All that needs somebody, the most pressing first. `states` has what every image is."""
    beats = heartbeats.read(connection)
    found = [*_engine(beats, now), *_problems(beats), *_failures(connection), *_approvals(connection)]
    return (*found, *_holds(states), *_unknown(states))


def _need(
    kind: str, what: str, do: str, link: str, *, since: float | None = None, severity: str | None = None,
    images: Sequence[str] = (),
) -> Need:
    return Need(kind=kind, what=what, do=do, severity=severity, since=moment(since), count=len(images),
                images=tuple(images[:NAMED]), link=link)  # fmt: skip


def _engine(beats: Mapping[str, HeartbeatEntry], now: float) -> Iterator[Need]:
    beat = beats.get("engine")
    if beat is None:
        yield _need("engine", "no engine is running: nothing is planned or built", "start `rebuilder run`", "/#health")
    elif beat.late(now):
        yield _need("engine", "the engine has stopped: nothing is planned or built",
                    "see its log, and start it again", "/#health", since=beat.at)  # fmt: skip


def _problems(beats: Mapping[str, HeartbeatEntry]) -> Iterator[Need]:
    """What cannot be reached, or read: the builder, Koji, the inventory's files."""
    for problem in heartbeats.problems(beats):
        yield _need("problem", f"{problem.what}: {problem.reason}", "mend it; it is tried again by itself", "/#health",
                    since=problem.since)  # fmt: skip


def _failures(connection: Connection) -> Iterator[Need]:
    failed = [one for one in open_rebuilds.stopped(connection, LISTED) if one.state is State.FAILED]
    if failed:
        more = "+" if len(failed) == LISTED else ""
        what = f"the last rebuild of {len(failed)}{more} image{'s' if len(failed) > 1 else ''} failed"
        yield _need("failure", what, "read the log, mend it, then `rebuilder retry IMAGE`", "/#failed",
                    since=min(one.ended_at or one.created_at for one in failed),
                    images=[one.image for one in failed])  # fmt: skip


def _approvals(connection: Connection) -> Iterator[Need]:
    for wave in waves.unapproved(connection):
        yield _need("approval", f"wave {wave.id} waits for approval, by rule {wave.rule}",
                    f"`rebuilder approve {wave.id}`", f"/waves/{wave.id}", since=wave.created_at)  # fmt: skip


def _holds(states: Mapping[str, ImageState]) -> Iterator[Need]:
    """The images on hold that lack a security fix."""
    for found in states.values():
        if found.state is Currency.HELD and found.lacks_security_fix:
            yield _need("hold", f"{found.image} is {sentence(found)}", f"`rebuilder release {found.image}`",
                        f"/images/{found.image}", since=found.since, images=[found.image],
                        severity=str(found.severity))  # fmt: skip


def _unknown(states: Mapping[str, ImageState]) -> Iterator[Need]:
    images = [found.image for found in states.values() if found.state is Currency.UNKNOWN]
    if images:
        verb = "is" if len(images) == 1 else "are"
        yield _need("unknown", f"the contents of {len(images)} image{'s' if len(images) > 1 else ''} {verb} unknown",
                    "make their builds: `rebuilder rebuild --unknown`", "/images?state=unknown",
                    images=images)  # fmt: skip
