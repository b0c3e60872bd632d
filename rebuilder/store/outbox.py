"""The outbox: what is to be announced, written in the transaction in which it happened.

What is announced goes with the connection: nothing, unless it is one of an engine made by `announcing`.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Connection, Engine, Row, bindparam, delete, func, insert, select, update

from rebuilder.domain.lifecycle import State
from rebuilder.domain.topics import OF_STATE, Notice, RollbackFacts, StateFacts, WaveFacts
from rebuilder.store.models import Image, Outbox, Rebuild
from rebuilder.store.upsert import chunks

OPTION = "announced"
_INSERT = insert(Outbox)
_KEEP = update(Outbox).where(Outbox.seq == bindparam("of")).values(body=bindparam("as"))
_REFUSE = (
    update(Outbox)
    .where(Outbox.seq == bindparam("of"))
    .values(refused_at=bindparam("since"), refused=bindparam("why"), body=None)
)

Facts = StateFacts | RollbackFacts | WaveFacts


class OutboxEntry(Struct, frozen=True):
    """One entry of the outbox. `body` is None until the message was written, just before it is first sent."""

    seq: int
    id: str
    notice: Notice
    wave_id: int
    rebuild_id: int | None
    at: float
    facts: Facts
    body: dict[str, Any] | None

    @property
    def subject(self) -> tuple[int, int | None]:
        """What it is about: letters about the same are sent in their order."""
        return self.wave_id, self.rebuild_id

    def written(self, body: dict[str, Any]) -> OutboxEntry:
        """The letter with the message that it is."""
        return replace(self, body=body)


class StateChange(Struct, frozen=True):
    """A rebuild came into a state."""

    rebuild_id: int
    wave_id: int
    state: State
    facts: StateFacts


class RefusedNotice(Struct, frozen=True):
    """A letter that cannot be sent. `image` is empty for one about a wave."""

    notice: Notice
    image: str
    wave_id: int
    at: float
    reason: str


def announcing(engine: Engine, notices: Collection[Notice]) -> Engine:
    """The same database: what is done through this one is announced, as far as the notices say."""
    return engine.execution_options(**{OPTION: frozenset(notices)})


def announces(connection: Connection, notice: Notice) -> bool:
    """Whether this is to be announced."""
    return notice in connection.get_execution_options().get(OPTION, ())


def came_into(connection: Connection, state_changes: Iterable[StateChange], now: float) -> None:
    """Rebuilds came into states, in this order."""
    rows = [
        _row(notice, change.wave_id, change.rebuild_id, now, change.facts)
        for change in state_changes
        if (notice := OF_STATE.get(change.state)) is not None and announces(connection, notice)
    ]
    if rows:
        connection.execute(_INSERT, rows)


def about_rebuild(
    connection: Connection, notice: Notice, wave_id: int, rebuild_id: int, now: float, facts: StateFacts
) -> None:
    """Something happened to what a rebuild made, after its end."""
    if announces(connection, notice):
        connection.execute(_INSERT, _row(notice, wave_id, rebuild_id, now, facts))


def about_rollback(connection: Connection, wave_id: int, rebuild_id: int, now: float, facts: RollbackFacts) -> None:
    """A build was taken back; the rebuild is the one that it is told of."""
    if announces(connection, Notice.IMAGE_ROLLED_BACK):
        connection.execute(_INSERT, _row(Notice.IMAGE_ROLLED_BACK, wave_id, rebuild_id, now, facts))


def about_wave(connection: Connection, notice: Notice, wave_id: int, now: float, facts: WaveFacts) -> None:
    """Something happened to a whole wave."""
    if announces(connection, notice):
        connection.execute(_INSERT, _row(notice, wave_id, None, now, facts))


def _row(notice: Notice, wave_id: int, rebuild_id: int | None, now: float, facts: Facts) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid4()), "notice": str(notice), "wave_id": wave_id, "rebuild_id": rebuild_id,
        "at": now, "facts": msgspec.to_builtins(facts),
    }  # fmt: skip


def unsent(connection: Connection, limit: int, without: Iterable[tuple[int, int | None]] = ()) -> list[OutboxEntry]:
    """The oldest letters to be sent, but for those about some subjects."""
    rebuilds = [rebuild for _, rebuild in without if rebuild is not None]
    waves = [wave for wave, rebuild in without if rebuild is None]
    query = select(Outbox.__table__).where(Outbox.refused_at.is_(None))
    if rebuilds:
        query = query.where(func.coalesce(Outbox.rebuild_id, 0).not_in(rebuilds))
    if waves:
        query = query.where(Outbox.wave_id.not_in(waves) | Outbox.rebuild_id.is_not(None))
    return [
        OutboxEntry(row.seq, row.id, Notice(row.notice), row.wave_id, row.rebuild_id, row.at, _facts(row), row.body)
        for row in connection.execute(query.order_by(Outbox.seq).limit(limit))
    ]


def _facts(row: Row[Any]) -> Facts:
    if row.rebuild_id is None:
        return msgspec.convert(row.facts, WaveFacts)
    if row.notice == Notice.IMAGE_ROLLED_BACK:
        return msgspec.convert(row.facts, RollbackFacts)
    return msgspec.convert(row.facts, StateFacts)


def keep(connection: Connection, bodies: Mapping[int, dict[str, Any]]) -> None:
    """Keep the messages as they are going to be sent, by the letters' numbers: sent again, they are the same."""
    if bodies:
        connection.execute(_KEEP, [{"of": seq, "as": body} for seq, body in bodies.items()])


def confirmed(connection: Connection, numbers: Sequence[int]) -> None:
    """The broker has these."""
    for part in chunks(numbers, 500):
        connection.execute(delete(Outbox).where(Outbox.seq.in_(part)))


def refuse(connection: Connection, reasons: Mapping[int, str], now: float) -> None:
    """These cannot be sent, each for its reason: they are set aside."""
    if reasons:
        connection.execute(_REFUSE, [{"of": seq, "since": now, "why": why} for seq, why in reasons.items()])


def forget_refused(connection: Connection, before: float) -> None:
    """What was set aside that long ago is not asked for any more."""
    connection.execute(delete(Outbox).where(Outbox.refused_at < before))


def waiting(connection: Connection) -> int:
    """How many letters are to be sent."""
    return connection.scalar(select(func.count()).select_from(Outbox).where(Outbox.refused_at.is_(None))) or 0


def oldest(connection: Connection) -> float | None:
    """When that was written which waits longest to be sent."""
    return connection.scalar(select(Outbox.at).where(Outbox.refused_at.is_(None)).order_by(Outbox.seq).limit(1))


def set_aside(connection: Connection, limit: int) -> tuple[int, list[RefusedNotice]]:
    """How many letters could not be sent, and the newest of them."""
    query = (
        select(Outbox.notice, Image.key.label("image"), Outbox.wave_id, Outbox.at, Outbox.refused)
        .outerjoin(Rebuild, Rebuild.id == Outbox.rebuild_id)
        .outerjoin(Image, Image.id == Rebuild.image_id)
        .where(Outbox.refused_at.is_not(None))
    )
    count = connection.scalar(select(func.count()).select_from(Outbox).where(Outbox.refused_at.is_not(None))) or 0
    rows = connection.execute(query.order_by(Outbox.seq.desc()).limit(limit)) if count else ()
    return count, [
        RefusedNotice(Notice(row.notice), row.image or "", row.wave_id, row.at, row.refused)
        for row in rows
    ]
