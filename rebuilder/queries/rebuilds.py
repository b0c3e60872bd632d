"""Rebuilds: one, or a wave of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection

from rebuilder.config import Settings
from rebuilder.domain.errors import UnknownError
from rebuilder.domain.lifecycle import RebuildRecord
from rebuilder.queries import forecast
from rebuilder.queries.answer import Answer
from rebuilder.queries.forecast import Expected
from rebuilder.queries.moment import Moment, moment
from rebuilder.queries.plan import (
    ToldReason,
    WrittenChange,
    WrittenPlan,
    told_reason,
    written,
    written_change,
)
from rebuilder.queries.plan_preview import proposed
from rebuilder.queries.rebuild import Rebuild, columns
from rebuilder.store import causes, rebuild_progress, rebuilds, waves


class Step(Answer):
    """A step of a rebuild's story."""

    at: Moment
    image: str
    event: str
    state: str
    reason: str


class InWave(Rebuild):
    """A rebuild of a wave, with the images that it waits for and why it is there.

    It is `overdue` while its build runs longer than nine of ten would.
    """

    eta: Moment | None
    overdue: bool = False
    after: tuple[str, ...]
    causes: tuple[ToldReason, ...]


class RebuildInFull(InWave):
    """A rebuild with the changes that it is for, and its story."""

    changes: tuple[WrittenChange, ...]
    story: tuple[Step, ...]


class Wave(Answer):
    """A wave with its rebuilds, parents first. `plan` is what it would do, while it waits for approval.

    Four times in five it is done between `eta_earliest` and `eta_latest`. There is no `eta` while a build runs longer
    than any did before: when `unknown` rebuilds are done cannot be told.
    """

    id: int
    state: str
    created: Moment
    finished: Moment | None
    rule: str
    approved: Moment | None
    counts: dict[str, int]
    eta: Moment | None
    eta_earliest: Moment | None = None
    eta_latest: Moment | None = None
    unknown: int = 0
    changes: tuple[WrittenChange, ...]
    rebuilds: tuple[InWave, ...]
    plan: WrittenPlan | None


def read(connection: Connection, ident: int, settings: Settings, now: float) -> RebuildInFull:
    """One rebuild. Raises UnknownError."""
    entry = rebuild_progress.find(connection, ident)
    if entry is None:
        raise UnknownError(f"there is no rebuild {ident}")
    (rebuild,) = _in_wave(connection, [entry], forecast.read(connection, settings, now), now)
    changes = {tuple(cause["change"].values()): cause["change"] for cause in rebuild.causes}
    story = steps(rebuild_progress.steps_of(connection, entry.id))
    return RebuildInFull.model_validate({**dict(rebuild), "changes": tuple(changes.values()), "story": story})


def steps(story: Sequence[rebuild_progress.Step]) -> tuple[Step, ...]:
    """A story as an answer."""
    return tuple(
        Step(at=moment(s.at), image=s.image, event=s.event, state=s.state, reason=s.reason) for s in story
    )


def wave(connection: Connection, wave_id: int, settings: Settings, now: float) -> Wave:
    """A wave. Raises UnknownError."""
    record = waves.find(connection, wave_id)
    taken = [item.change for item in waves.changes_of(connection, wave_id)]
    entries = rebuilds.of_wave(connection, wave_id)
    open_ = forecast.read(connection, settings, now) if record.state == "running" else forecast.NOTHING
    drafted = proposed(connection, wave_id, settings, now) if record.state == "planned" else None
    counted = Counter(str(entry.state) for entry in entries)
    return Wave.model_validate({
        "id": record.id, "state": record.state, "created": moment(record.created_at),
        "finished": moment(record.finished_at), "rule": record.rule, "approved": moment(record.approved_at),
        "counts": counted, **_expected_end(entries, open_, now),
        "changes": tuple(map(written_change, taken)),
        "rebuilds": tuple(_in_wave(connection, entries, open_, now)),
        "plan": written(drafted.plan) if drafted else None,
    })


def _expected_end(entries: Iterable[RebuildRecord], open_: Expected, now: float) -> dict[str, object]:
    """When all of these rebuilds should be done; nothing where that cannot be told."""
    ids = [entry.id for entry in entries]
    unknown = len(open_.forecast.unknown.intersection(ids))
    eta = open_.forecast.of(ids)
    if not eta:
        return {"eta": None, "unknown": unknown}
    likely, low, high = (moment(now + seconds) for seconds in (eta.likely, eta.low, eta.high))
    return {"eta": likely, "eta_earliest": low, "eta_latest": high, "unknown": unknown}


def story(connection: Connection, wave_id: int) -> tuple[Step, ...]:
    """All that happened to the rebuilds of a wave. Raises UnknownError."""
    return steps(rebuild_progress.steps_of_wave(connection, waves.find(connection, wave_id).id))


def _in_wave(
    connection: Connection, entries: Sequence[RebuildRecord], open_: Expected, now: float
) -> list[InWave]:
    done_in = open_.forecast.done_in
    ids = [entry.id for entry in entries]
    reasons = causes.reasons_of(connection, ids)
    distinct = {id(reason): reason for of_one in reasons.values() for reason in of_one}  # many have the same
    causing = {same: told_reason(reason) for same, reason in distinct.items()}
    after = rebuild_progress.parents_in_wave(connection, ids)
    return [
        InWave.model_validate({
            **columns(entry),
            "eta": moment(now + done_in[entry.id]) if entry.id in done_in else None,
            "overdue": entry.id in open_.overdue,
            "after": after.get(entry.id, ()),
            "causes": [causing[id(reason)] for reason in reasons.get(entry.id, ())],
        })
        for entry in entries
    ]
