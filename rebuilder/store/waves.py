"""Waves: proposed, approved, and finished once nothing of theirs is open any more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, Row, and_, exists, insert, select, update

from rebuilder.domain.errors import UnknownError
from rebuilder.domain.lifecycle import OPEN, STOPPED
from rebuilder.domain.topics import LISTED, Notice, StoppedImage, WaveFacts
from rebuilder.store import changes, outbox, rebuilds
from rebuilder.store.changes import StoredChange
from rebuilder.store.models import Change, Rebuild, Wave, WaveChange

IS_APPROVED = and_(Wave.state == "planned", Wave.approved_at.is_not(None))
# Made once: they are asked in every pass.
_APPROVED = select(Wave.id).where(IS_APPROVED).order_by(Wave.approved_at, Wave.id)
_DONE = select(Wave.id).where(
    Wave.state == "running", ~exists().where(Rebuild.wave_id == Wave.id, Rebuild.state.in_(sorted(OPEN)))
)
LARGEST = 2**31  # the databases' limit on numbers of rows


class WaveEntry(Struct, frozen=True):
    """A wave as the store has it."""

    id: int
    created_at: float
    finished_at: float | None
    state: str
    rule: str
    approved_at: float | None
    approved_by: str


def create(connection: Connection, now: float, state: str, rule: str = "") -> int:
    """A new wave, in this state; its id. `rule` is the one of the policy that wants it to be approved."""
    row = {"created_at": now, "state": state, "rule": rule}
    return connection.execute(insert(Wave).values(row).returning(Wave.id)).scalar_one()


def propose(connection: Connection, change_ids: Sequence[int], rule: str, now: float) -> int:
    """Keep a wave for these changes that waits for an operator; its id. It is planned anew once it is approved."""
    wave_id = create(connection, now, "planned", rule)
    connection.execute(insert(WaveChange), [{"wave_id": wave_id, "change_id": ident} for ident in change_ids])
    outbox.about_wave(connection, Notice.WAVE_PLANNED, wave_id, now, WaveFacts(state="planned"))
    return wave_id


def approve(connection: Connection, wave_id: int, who: str, now: float) -> bool:
    """Let a planned wave begin; whether it was waiting for that."""
    waiting = Wave.id == wave_id, Wave.state == "planned", Wave.approved_at.is_(None)
    done = connection.execute(update(Wave).where(*waiting).values(approved_at=now, approved_by=who))
    return done.rowcount == 1


def approved(connection: Connection) -> list[int]:
    """The planned waves that an operator approved, in the order of their approval."""
    return list(connection.scalars(_APPROVED))


def unapproved(connection: Connection) -> list[WaveEntry]:
    """The waves that wait for an operator, oldest first."""
    query = select(Wave.__table__).where(Wave.state == "planned", Wave.approved_at.is_(None)).order_by(Wave.id)
    return [entry_of(row) for row in connection.execute(query)]


def waiting_by_change(connection: Connection) -> dict[int, WaveEntry]:
    """The waves that wait for an operator, by the ids of their changes."""
    query = select(WaveChange.change_id, Wave.__table__).join(Wave, Wave.id == WaveChange.wave_id)
    rows = connection.execute(query.where(Wave.state == "planned").order_by(Wave.id.desc()))
    return {row.change_id: entry_of(row) for row in rows}


def taking_up(connection: Connection, change_id: int) -> list[WaveEntry]:
    """The waves that take up a change, the newest first."""
    query = select(Wave.__table__).join(WaveChange, WaveChange.wave_id == Wave.id)
    rows = connection.execute(query.where(WaveChange.change_id == change_id).order_by(Wave.id.desc()))
    return [entry_of(row) for row in rows]


def changes_of(connection: Connection, wave_id: int) -> list[StoredChange]:
    """The changes that the wave takes up."""
    ids = connection.scalars(
        select(WaveChange.change_id).where(WaveChange.wave_id == wave_id).order_by(WaveChange.change_id)
    ).all()
    by_id = changes.of_ids(connection, ids)
    return [by_id[ident] for ident in ids]


def end_withdrawn(connection: Connection, now: float) -> list[int]:
    """End the waves that wait for an operator and have no change left that is still offered; their ids."""
    offered = (
        exists()
        .where(WaveChange.wave_id == Wave.id, WaveChange.change_id == Change.id)
        .where(Change.withdrawn_at.is_(None))
    )
    ids = list(connection.scalars(select(Wave.id).where(Wave.state == "planned", ~offered)))
    if ids:
        connection.execute(update(Wave).where(Wave.id.in_(ids)).values(state="running"))
    return finish(connection, now) if ids else []


def finish(connection: Connection, now: float) -> list[int]:
    """End the running waves that have nothing open any more; their ids."""
    done = list(connection.scalars(_DONE))
    if done:
        connection.execute(update(Wave).where(Wave.id.in_(done)).values(state="finished", finished_at=now))
    if outbox.announces(connection, Notice.WAVE_FINISHED):
        for wave_id in done:
            outbox.about_wave(connection, Notice.WAVE_FINISHED, wave_id, now, _outcome(connection, wave_id))
    return done


def _outcome(connection: Connection, wave_id: int) -> WaveFacts:
    """How the rebuilds of a wave ended: another attempt may change that later."""
    entries = rebuilds.of_wave(connection, wave_id)
    stopped = [entry for entry in entries if entry.state in STOPPED][:LISTED]
    return WaveFacts(
        state="finished",
        counts=dict(Counter(str(entry.state) for entry in entries)),
        stopped=tuple(StoppedImage(entry.image, str(entry.state), entry.reason) for entry in stopped),
    )


def latest(connection: Connection, limit: int, before: int | None = None) -> list[WaveEntry]:
    """The newest waves first, or those from the one `before` on."""
    query = select(Wave.__table__) if before is None else select(Wave.__table__).where(Wave.id < before)
    rows = connection.execute(query.order_by(Wave.id.desc()).limit(limit))
    return [entry_of(row) for row in rows]


def entry_of(row: Row[Any]) -> WaveEntry:
    """A row of the table as a value."""
    return WaveEntry(
        row.id, row.created_at, row.finished_at, row.state, row.rule, row.approved_at, row.approved_by
    )


def find(connection: Connection, wave_id: int) -> WaveEntry:
    """The wave of that id. Raises UnknownError where there is none."""
    possible = 0 < wave_id < LARGEST
    row = connection.execute(select(Wave.__table__).where(Wave.id == wave_id)).one_or_none() if possible else None
    if row is None:
        raise UnknownError(f"there is no wave {wave_id}")
    return entry_of(row)
