"""What is being rebuilt, what comes next, what failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sqlalchemy import Connection

from rebuilder.config import Settings
from rebuilder.domain.lifecycle import OPEN, UNDER_WAY, RebuildRecord, State
from rebuilder.queries import attention, forecast, image_state, pending, updates
from rebuilder.queries.answer import Answer
from rebuilder.queries.attention import EngineState, Need
from rebuilder.queries.moment import Moment, moment
from rebuilder.queries.pending import Pending
from rebuilder.queries.rebuild import Rebuild, columns
from rebuilder.queries.updates import UpdateUnderWay
from rebuilder.queries.waiting import Wait, Waiting
from rebuilder.store import (
    actions,
    changes,
    dead_letters,
    heartbeats,
    holds,
    image_states,
    inbox,
    lease,
    open_rebuilds,
    outbox,
    rebuilds,
    rollbacks,
    waves,
)

RECENT = 5
SHOWN = 100


class OpenRebuild(Rebuild):
    """A rebuild that is not done. `waits` says what keeps it from going on, `until` for how long at the most."""

    waits: str
    until: Moment | None


class Calls(Answer):
    """Calls of the engine that are out: how many, how many of them past their time limit, and the oldest's age."""

    kind: str
    count: int
    overdue: int
    oldest_s: float


class Problem(Answer):
    """What does not work, since when and why, and when it is tried again."""

    what: str
    since: Moment
    reason: str
    until: Moment | None


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
    """Who paused the engine, since when, and why; `until` is when that ends by itself, null for never."""

    who: str
    reason: str
    since: Moment
    until: Moment | None


class Request(Answer):
    """What an operator asked for, and the engine has not carried out yet."""

    verb: str
    target: str
    who: str
    reason: str


class SetAside(Answer):
    """A notification that cannot be sent: the broker or its schema refuses it. One about a wave has no image."""

    topic: str
    image: str | None
    wave: int
    at: Moment
    reason: str


class Notifications(Answer):
    """How many wait for the broker, how many are set aside, and the newest of those."""

    waiting: int
    set_aside: int
    newest: tuple[SetAside, ...]


class Status(Answer):
    """`needs` is what needs attention, the most pressing first; `images` counts them by what they are; `updates` are
    those under way, and `engine` says whether one gets on. `rebuilds` are those under way, then what comes next; `open`
    says how many there are of each state.

    `problems` says what does not work now, `calls` what the engine waits for, `pending` why changes are not planned
    yet, `dead_letters` how many deliveries were set aside unread. `active` names the engine that acts, if one does, and
    `standbys` those that wait to. `well` is false while the last rebuild of some image did not succeed.
    """

    needs: tuple[Need, ...]
    images: dict[str, int]
    updates: tuple[UpdateUnderWay, ...]
    engine: EngineState
    messages: dict[str, int]
    dead_letters: int
    settling: int
    open: dict[str, int]
    rebuilds: tuple[OpenRebuild, ...]
    waves: tuple[WaveInBrief, ...]
    paused: Paused | None
    requests: tuple[Request, ...]
    notifications: Notifications
    problems: tuple[Problem, ...]
    calls: tuple[Calls, ...]
    pending: tuple[Pending, ...]
    active: str | None
    standbys: tuple[str, ...]
    well: bool


def _paused(connection: Connection, now: float) -> Paused | None:
    paused = holds.paused(connection, now)
    if paused is None:
        return None
    since, until = moment(paused.since), moment(paused.until)
    return Paused(who=paused.who, reason=paused.reason, since=since, until=until)


def read(connection: Connection, settings: Settings, now: float) -> Status:
    """How things stand now."""
    open_ = forecast.read(connection, settings, now)
    counted = Counter(rebuild.entry.state for rebuild in open_.open)
    first = _first(connection)
    states = image_state.read(connection, settings, now)
    waits = Waiting(connection, settings, now).of(first)
    beats = heartbeats.read(connection)
    beat = beats.get("engine")
    activity = beat.activity if beat else heartbeats.NOTHING
    return Status(
        needs=attention.read(connection, states, settings, now),
        images={str(state): count for state, count in image_states.counts(states.values()).items()},
        updates=updates.read(connection, open_.forecast, now),
        engine=attention.engine(connection, now),
        messages=dict(inbox.counts(connection)),
        dead_letters=dead_letters.count(connection),
        settling=changes.settling(connection),
        open={str(state): counted[state] for state in OPEN if counted[state]},
        rebuilds=tuple(open_rebuild(entry, waits[entry.id]) for entry in first),
        waves=tuple(briefs(connection, waves.latest(connection, RECENT)).values()),
        paused=_paused(connection, now),
        requests=_requests(connection),
        notifications=_notifications(connection),
        problems=tuple(
            Problem(what=p.what, since=moment(p.since), reason=p.reason, until=moment(p.until))
            for p in heartbeats.problems(beats)
        ),
        calls=tuple(
            Calls(kind=c.kind, count=c.count, overdue=c.overdue, oldest_s=c.oldest) for c in activity.calls
        ),
        pending=pending.read(connection, settings, RECENT),
        active=lease.read(connection).owner or None,
        standbys=tuple(heartbeats.standbys(beats, now)),
        well=not rebuilds.any_stopped(connection),
    )


def _requests(connection: Connection) -> tuple[Request, ...]:
    """What operators asked of the engine, that it has not done yet."""
    ordered = [Request(verb=str(r.verb), target=r.target, who=r.who, reason=r.reason)
               for r in actions.requested(connection)]  # fmt: skip
    return (*ordered, *(
        Request(verb=actions.ROLLBACK, target=r.image, who=r.who, reason=r.reason)
        for r in rollbacks.requested(connection)
    ))  # fmt: skip


def _notifications(connection: Connection) -> Notifications:
    refused, newest = outbox.set_aside(connection, RECENT)
    return Notifications(
        waiting=outbox.waiting(connection),
        set_aside=refused,
        newest=tuple(
            SetAside(topic=f"rebuilder.{r.notice}", image=r.image or None, wave=r.wave_id, at=moment(r.at),
                     reason=r.reason)
            for r in newest
        ),
    )


def _first(connection: Connection) -> list[RebuildRecord]:
    """What is under way, then what is next in the queue, then what waits for its parents."""
    records: list[RebuildRecord] = []
    for states in (UNDER_WAY, [State.QUEUED], [State.WAITING]):
        if len(records) < SHOWN:
            records += open_rebuilds.in_states(connection, states, SHOWN - len(records))
    return records


def open_rebuild(entry: RebuildRecord, wait: Wait) -> OpenRebuild:
    """An open rebuild as an answer."""
    return OpenRebuild.model_validate({**columns(entry), "waits": wait.reason, "until": moment(wait.until)})


def briefs(connection: Connection, entries: Sequence[waves.WaveEntry]) -> dict[int, WaveInBrief]:
    """Waves by id, and how far each is."""
    counted = open_rebuilds.counts_of(connection, [wave.id for wave in entries])
    return {
        wave.id: WaveInBrief(
            id=wave.id, state=wave.state, created=moment(wave.created_at), finished=moment(wave.finished_at),
            rule=wave.rule, approved=moment(wave.approved_at),
            rebuilds={str(state): count for state, count in counted[wave.id].items()},
        )
        for wave in entries
    }
