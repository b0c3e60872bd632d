"""A rebuild as all that answer tell it: what lists, waves, the status and `why` have in common."""

from __future__ import annotations

from rebuilder.domain.lifecycle import RebuildRecord
from rebuilder.queries.answer import Answer
from rebuilder.queries.moment import Moment, moment


class Rebuild(Answer):
    """One image in a wave. `note` says who wanted it, where no change did; `reason` why it is in its state."""

    id: int
    wave: int
    image: str
    state: str
    severity: str
    level: int
    attempt: int
    reason: str
    note: str
    ref: str
    log: str
    created: Moment
    started: Moment | None
    ended: Moment | None


def rebuild(entry: RebuildRecord) -> Rebuild:
    """A rebuild as an answer."""
    return Rebuild.model_validate(columns(entry))


def columns(entry: RebuildRecord) -> dict[str, object]:
    """The same for an answer that says more of it."""
    return {
        "id": entry.id, "wave": entry.wave_id, "image": entry.image, "state": str(entry.state),
        "severity": entry.severity, "level": entry.level, "attempt": entry.attempt, "reason": entry.reason,
        "note": entry.note, "ref": entry.ref, "log": entry.log, "created": moment(entry.created_at),
        "started": moment(entry.started_at), "ended": moment(entry.ended_at),
    }  # fmt: skip
