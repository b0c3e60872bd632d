"""What is being rebuilt, what comes next, what failed."""

from __future__ import annotations

from sqlalchemy import Connection

from rebuilder.answers.answer import Answer
from rebuilder.answers.moment import Moment, moment
from rebuilder.domain.lifecycle import OPEN
from rebuilder.store import actions, changes, holds, inbox, rebuilds, waves

RECENT = 5


class OpenRebuild(Answer):
    """A rebuild that is not done."""

    image: str
    wave: int
    state: str
    severity: str
    attempt: int
    reason: str


class WaveInBrief(Answer):
    """A wave with the number of its rebuilds in each state. One that waits for approval has none yet."""

    id: int
    state: str
    created: Moment
    finished: Moment | None
    rule: str
    approved: Moment | None
    rebuilds: dict[str, int]


class Paused(Answer):
    """Who paused the engine, since when, and why."""

    who: str
    reason: str
    since: Moment


class Request(Answer):
    """What an operator asked for, and the engine has not carried out yet."""

    verb: str
    target: str
    who: str
    reason: str


class Status(Answer):
    """`well` is false while the last rebuild of some image did not succeed."""

    messages: dict[str, int]
    settling: int
    rebuilds: tuple[OpenRebuild, ...]
    waves: tuple[WaveInBrief, ...]
    paused: Paused | None
    requests: tuple[Request, ...]
    well: bool


def read(connection: Connection, now: float) -> Status:
    """How things stand now."""
    paused = holds.paused(connection)
    return Status(
        messages=dict(inbox.counts(connection)),
        settling=changes.settling(connection),
        rebuilds=tuple(
            OpenRebuild(image=e.image, wave=e.wave_id, state=e.state, severity=e.severity, attempt=e.attempt,
                        reason=e.reason)
            for e in rebuilds.in_states(connection, OPEN)
        ),
        waves=tuple(brief(connection, wave) for wave in waves.latest(connection, RECENT)),
        paused=Paused(who=paused.who, reason=paused.reason, since=moment(paused.since)) if paused else None,
        requests=tuple(
            Request(verb=str(r.verb), target=r.target, who=r.who, reason=r.reason)
            for r in actions.requested(connection)
        ),
        well=not rebuilds.any_stopped(connection),
    )


def brief(connection: Connection, wave: waves.WaveEntry) -> WaveInBrief:
    """A wave and how far it is."""
    counted = rebuilds.counts(connection, wave.id)
    return WaveInBrief(
        id=wave.id, state=wave.state, created=moment(wave.created_at), finished=moment(wave.finished_at),
        rule=wave.rule, approved=moment(wave.approved_at), rebuilds={str(state): n for state, n in counted.items()},
    )
