"""Changes: noticed once, asked of Koji, planned, and withdrawn where they are offered no more."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, Row, and_, delete, exists, func, or_, select, update

from rebuilder.domain.change import Change as ChangeValue
from rebuilder.domain.change import Severity
from rebuilder.domain.rpm import EVR, SourceBuild
from rebuilder.store.models import Cause, Change, Rpm, WaveChange
from rebuilder.store.upsert import chunks, insert_one, numbers

KEPT = 5000  # values of rows
WITHDRAWN = "withdrawn"  # what a change is that is not available any more, whether it was planned or not
_OF_IDS = select(Change.__table__).where(Change.id.in_(numbers("ids")))
# Made once: they are asked in every pass.
_SETTLING = select(func.count()).select_from(Change).where(Change.state == "settling")
_IN_DOUBT = (
    select(Change.id, Change.source + "-" + Change.version_release, Change.stream)
    .where(Change.in_doubt)
    .order_by(Change.id)
)
# By their places: to look for a name in a row takes longer than all else that is done with it.
_PLACES = {column.name: place for place, column in enumerate(Change.__table__.c)}
_RPMS = _PLACES["rpms"]
_PLAIN = itemgetter(*map(_PLACES.__getitem__, (
    "source", "epoch", "version_release", "stream", "severity", "update", "url", "type", "cves",
)))  # fmt: skip


class StoredChange(Struct, frozen=True):
    """A change with its id in the store, that of the message that told of it first, and whether it was withdrawn."""

    id: int
    change: ChangeValue
    message: str = ""
    withdrawn: bool = False


class Doubted(Struct, frozen=True):
    """A change whose build left a tag of its stream."""

    id: int
    nvr: str
    stream: str


def notice(
    connection: Connection, changes: Iterable[ChangeValue], message_id: str | None, waits_for_repo: str, now: float
) -> int:
    """Keep changes that are not known yet; how many were new.

    One that is told of twice stays one; it is settled sooner where the second message waits for no repository. One that
    was withdrawn, and is available again, settles anew.
    """
    new = 0
    for change in changes:
        row = {
            "source": change.build.name,
            "epoch": change.build.evr.epoch,
            "version_release": change.build.evr.version_release,
            "stream": change.stream,
            "severity": str(change.severity),
            "update": change.update,
            "url": change.url,
            "type": change.type,
            "cves": " ".join(change.cves),
            "waits_for_repo": waits_for_repo,
            "message_id": message_id,
            "noticed_at": now,
        }
        if insert_one(connection, Change, row) or _revived(connection, row):
            new += 1
        elif not waits_for_repo:
            same = [Change.__table__.c[name] == row[name] for name in ("source", "version_release", "stream")]
            settling = Change.state == "settling"
            connection.execute(update(Change).where(*same, settling).values(waits_for_repo="", **_told(change)))
            if details := _told(change):  # what Koji told of may be planned by now; its update was unknown then
                connection.execute(update(Change).where(*same, Change.update == "").values(details))
    return new


def _revived(connection: Connection, row: dict[str, Any]) -> bool:
    """Let the change be pending again where it was withdrawn; whether it was."""
    same = [Change.__table__.c[name] == row[name] for name in ("source", "version_release", "stream")]
    anew = {**row, "state": "settling", "in_doubt": False, "withdrawn_at": None}
    return connection.execute(update(Change).where(*same, Change.withdrawn_at.is_not(None)).values(anew)).rowcount == 1


def _told(change: ChangeValue) -> dict[str, str]:
    """What a Bodhi message knows of a change and a Koji message does not."""
    if not change.update:
        return {}
    return {"severity": str(change.severity), "update": change.update, "url": change.url, "type": change.type,
            "cves": " ".join(change.cves)}


def withdraw(connection: Connection, ids: Sequence[int], now: float) -> None:
    """These changes are offered no more. Those that no plan ever took up are forgotten; rebuilds tell of the others."""
    told_of = or_(exists().where(Cause.change_id == Change.id), exists().where(WaveChange.change_id == Change.id))
    for part in chunks(list(ids), 500):
        connection.execute(delete(Change).where(Change.id.in_(part), Change.state == "settling", ~told_of))
        gone = {"state": "planned", "waits_for_repo": "", "in_doubt": False, "withdrawn_at": now}
        connection.execute(update(Change).where(Change.id.in_(part), Change.withdrawn_at.is_(None)).values(gone))


def doubt(connection: Connection, ids: Sequence[int]) -> None:
    """The builds of these changes left a tag: Koji is asked whether their streams still have them."""
    connection.execute(update(Change).where(Change.id.in_(ids)).values(in_doubt=True))


def in_doubt(connection: Connection) -> list[Doubted]:
    """The changes of which Koji is to be asked whether they are still offered."""
    return [Doubted(*row) for row in connection.execute(_IN_DOUBT)]


def confirm(connection: Connection, ids: Sequence[int]) -> None:
    """These changes are still offered."""
    connection.execute(update(Change).where(Change.id.in_(ids)).values(in_doubt=False))


def unresolved(connection: Connection) -> list[StoredChange]:
    """The settling changes of which Koji was not asked yet."""
    rows = connection.execute(
        select(Change.__table__).where(Change.state == "settling", Change.rpms.is_(None)).order_by(Change.id)
    )
    return [stored_change_of(row) for row in rows]


def resolved(connection: Connection, names: Iterable[str]) -> dict[tuple[str, str], ChangeValue]:
    """What Koji said before of builds of these packages, by package and version: they were new in another stream."""
    query = select(Change.__table__).where(Change.source.in_(set(names)), Change.rpms.is_not(None))
    return {(row.source, row.version_release): value_of(row) for row in connection.execute(query.order_by(Change.id))}


def resolve(connection: Connection, change_id: int, epoch: int | None, rpms: Sequence[str]) -> None:
    """Keep what Koji says of a change."""
    row = {"epoch": epoch, "rpms": list(rpms)}
    connection.execute(update(Change).where(Change.id == change_id).values(row))


def forget(connection: Connection, change_id: int) -> None:
    """Drop a change that no plan has taken up."""
    connection.execute(delete(Change).where(Change.id == change_id, Change.state == "settling"))


def unknown(connection: Connection, changes: Iterable[ChangeValue]) -> list[ChangeValue]:
    """Those of these changes that nothing has told of, or that are offered again after they were withdrawn."""
    changes = list(changes)
    stored: set[tuple[str, str, str]] = set()
    for part in chunks(sorted({change.build.name for change in changes}), 500):
        rows = select(Change.source, Change.version_release, Change.stream).where(
            Change.source.in_(part), Change.withdrawn_at.is_(None)
        )
        stored.update((source, version, stream) for source, version, stream in connection.execute(rows))
    return [c for c in changes if (c.build.name, c.build.evr.version_release, c.stream) not in stored]


def in_states(states: Collection[str]) -> ColumnElement[bool]:
    """Whether a change is settling, planned, or withdrawn: what is not available any more is nothing else."""
    available = and_(Change.withdrawn_at.is_(None), Change.state.in_(set(states) - {WITHDRAWN}))
    return or_(available, Change.withdrawn_at.is_not(None)) if WITHDRAWN in states else available


def stored_change_of(row: Row[Any]) -> StoredChange:
    """A row of the table, with its id."""
    return StoredChange(row.id, value_of(row), row.message_id or "", row.withdrawn_at is not None)


def value_of(row: Row[Any]) -> ChangeValue:
    """A row of the table as a value."""
    return _value((*_PLAIN(row), tuple(row[_RPMS] or ())))


@lru_cache(KEPT)
def _value(columns: tuple[Any, ...]) -> ChangeValue:
    """The same from what is in the row. What every page asks for, by the thousand, is made once."""
    source, epoch, version_release, stream, severity, alias, url, kind, cves, rpms = columns
    version, _, release = version_release.rpartition("-")
    build = SourceBuild(source, EVR(epoch, version, release))
    return ChangeValue(build, stream, Severity(severity), alias, url, kind, rpms, tuple(cves.split()))


def planned(connection: Connection, ids: Sequence[int]) -> None:
    """These changes have been taken into a plan."""
    connection.execute(update(Change).where(Change.id.in_(ids)).values(state="planned"))


def of_ids(connection: Connection, ids: Iterable[int]) -> dict[int, StoredChange]:
    """These changes by their ids."""
    rows = connection.execute(_OF_IDS, {"ids": list(set(ids))})
    return {row.id: stored_change_of(row) for row in rows}


def taken_up(connection: Connection) -> list[StoredChange]:
    """Every change that was planned and not withdrawn, and whose package is, or was, in some image."""
    conditions = Change.state == "planned", Change.withdrawn_at.is_(None), exists().where(Rpm.source == Change.source)
    rows = connection.execute(select(Change.__table__).where(*conditions).order_by(Change.id))
    return [stored_change_of(row) for row in rows]


def recent(connection: Connection, limit: int) -> list[StoredChange]:
    """The changes noticed last, newest first."""
    rows = connection.execute(select(Change.__table__).order_by(Change.id.desc()).limit(limit))
    return [stored_change_of(row) for row in rows]


def noticed(connection: Connection) -> int:
    """How many changes were ever noticed, near enough: the highest number that one has."""
    return connection.scalar(select(func.max(Change.id))) or 0


def settling(connection: Connection) -> int:
    """How many changes wait to be planned."""
    return connection.scalar(_SETTLING) or 0
