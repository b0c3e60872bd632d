"""Changes: noticed once, settled, then planned."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

from msgspec import Struct
from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
    Row,
    and_,
    bindparam,
    delete,
    exists,
    func,
    literal,
    or_,
    select,
    update,
)

from rebuilder.domain.change import CVE, Severity
from rebuilder.domain.change import Change as ChangeValue
from rebuilder.domain.rpm import EVR, SourceBuild
from rebuilder.store.models import Cause, Change, Rpm, WaveChange
from rebuilder.store.upsert import chunks, insert_one, numbers

LONGEST = 10  # times settle_seconds
KEPT = 5000  # values of rows
WITHDRAWN = "withdrawn"  # what a change is that is not available any more, whether it was planned or not
_OF_IDS = select(Change.__table__).where(Change.id.in_(numbers("ids")))
# Made once: they are asked in every pass.
_SETTLING = select(func.count()).select_from(Change).where(Change.state == "settling")
_WAITING = (
    select(Change.stream, Change.waits_for_repo)
    .where(Change.state == "settling", Change.waits_for_repo != "")
    .distinct()
)
_READY = select(Change.__table__).where(
    Change.state == "settling",
    ~Change.in_doubt,
    or_(Change.waits_for_repo == "", Change.noticed_at <= bindparam("then", type_=Double)),
).order_by(Change.id)  # fmt: skip
_IN_DOUBT = (
    select(Change.id, Change.source + "-" + Change.version_release, Change.stream)
    .where(Change.in_doubt)
    .order_by(Change.id)
)
_READY_RESOLVED = _READY.where(Change.rpms.is_not(None))
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


def repo_done(connection: Connection, tag: str) -> None:
    """The tag's repository is new: what waited for it may be planned."""
    connection.execute(update(Change).where(Change.waits_for_repo == tag).values(waits_for_repo=""))


def waiting_for_repositories(connection: Connection) -> set[tuple[str, str]]:
    """The streams and tags of the changes that wait for a repository."""
    return {(row[0], row[1]) for row in connection.execute(_WAITING)}


def repository_made(connection: Connection, stream: str, tags: Collection[str]) -> int:
    """What the stream's changes of these tags waited for is there; how many there were."""
    waited = Change.stream == stream, Change.waits_for_repo.in_(list(tags)), Change.waits_for_repo != ""
    return connection.execute(update(Change).where(*waited).values(waits_for_repo="")).rowcount


def offered_by_update(connection: Connection, build: SourceBuild, name: str) -> list[int]:
    """The ids of the changes of this build that the update of that name told of."""
    return list(connection.scalars(select(Change.id).where(*_of(build), Change.update == name)))


def ids_named(connection: Connection, name: str) -> list[int]:
    """The ids of the changes that an update of this alias brought, or that fix this CVE, oldest first."""
    if not name:
        return []
    return list(connection.scalars(select(Change.id).where(named(name)).order_by(Change.id)))


def planned_ids(connection: Connection, changes: Iterable[ChangeValue]) -> list[int] | None:
    """The ids of these changes once all of them are planned or withdrawn; None until then."""
    ids = []
    for change in changes:
        query = select(Change.id, Change.state).where(*_of(change.build), Change.stream == change.stream)
        for ident, state in connection.execute(query):
            if state == "settling":
                return None
            ids.append(ident)
    return ids


def is_known(connection: Connection, package: str) -> bool:
    """Whether any change was of this source package."""
    return connection.scalar(select(Change.id).where(Change.source == package).limit(1)) is not None


def is_of_stream(connection: Connection, stream: str) -> bool:
    """Whether any change is of that stream."""
    return connection.scalar(select(Change.id).where(Change.stream == stream).limit(1)) is not None


def ids_meant(connection: Connection, name: str) -> list[int]:
    """The ids of the changes that somebody means who gives an alias, a CVE or an NVR, oldest first."""
    return list(connection.scalars(select(Change.id).where(meant(name)).order_by(Change.id))) if name else []


def updates(connection: Connection) -> set[str]:
    """The aliases of all updates that brought changes."""
    return set(connection.scalars(select(Change.update).where(Change.update != "").distinct()))


def meant(name: str) -> ColumnElement[bool]:
    """Whether a change is of the update of this alias, fixes this CVE, or is of the source build of this NVR.

    A build that is named with its epoch is not one of another epoch: how far that has come says nothing of it.
    """
    try:
        build = SourceBuild.parse(name)
    except ValueError:
        return named(name)
    return named(name) if CVE.fullmatch(name) else or_(named(name), and_(*_of(build), *_of_epoch(build)))


def named(name: str) -> ColumnElement[bool]:
    """Whether a change is of the update of this alias, or fixes this CVE and was not withdrawn."""
    if CVE.fullmatch(name):
        fixes = (literal(" ") + Change.cves + literal(" ")).contains(f" {name.upper()} ", autoescape=True)
        return and_(fixes, Change.withdrawn_at.is_(None))
    return Change.update == name


def of_build(connection: Connection, build: SourceBuild) -> list[tuple[int, str, str]]:
    """Id, stream, and the tag whose repository is waited for, of each change of this build."""
    query = select(Change.id, Change.stream, Change.waits_for_repo).where(*_of(build), Change.withdrawn_at.is_(None))
    return [(row[0], row[1], row[2]) for row in connection.execute(query)]


def other_epoch(connection: Connection, build: SourceBuild) -> int | None:
    """The epoch that the build is known to have, where another one is given; None where they do not contradict."""
    if build.evr.epoch is None:
        return None
    query = select(Change.epoch).where(*_of(build), Change.epoch != build.evr.epoch)
    return connection.scalar(query.order_by(Change.id.desc()).limit(1))


def _of(build: SourceBuild) -> tuple[Any, Any]:
    return Change.source == build.name, Change.version_release == build.evr.version_release


def _of_epoch(build: SourceBuild) -> list[ColumnElement[bool]]:
    if build.evr.epoch is None:
        return []
    return [or_(Change.epoch.is_(None), Change.epoch == build.evr.epoch)]


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


def settled(
    connection: Connection, now: float, settle_seconds: float, repo_seconds: float, *, resolved: bool = False
) -> list[StoredChange]:
    """All changes to be planned together now; none until no new one has come for a while, as bursts do.

    Ten times `settle_seconds` is the longest that any waits. An urgent change does not wait, and takes along what is
    settling. One that waits for a repository is not ready until that is done, or `repo_seconds` have passed; with
    `resolved`, none is before Koji was asked of it.
    """
    rows = connection.execute(_READY_RESOLVED if resolved else _READY, {"then": now - repo_seconds}).all()
    urgent = any(row.severity == Severity.URGENT for row in rows)
    if not rows:
        return []
    oldest, youngest = min(row.noticed_at for row in rows), max(row.noticed_at for row in rows)
    if not (urgent or youngest <= now - settle_seconds or oldest <= now - LONGEST * settle_seconds):
        return []
    return [stored_change_of(row) for row in rows]


class Waiting(Struct, frozen=True):
    """A change that is not planned yet, what it waits for, and until when at the most (seconds since the epoch).

    `repository` is the tag into which it came, where it waits for a repository that takes from that.
    """

    change: ChangeValue
    waits: str
    until: float | None
    repository: str = ""


def waiting(
    connection: Connection, settle_seconds: float, repo_seconds: float, *, resolved: bool, limit: int
) -> list[Waiting]:
    """The first of the settling changes; the arguments are those of `settled`."""
    query = select(Change.__table__).where(Change.state == "settling").order_by(Change.id).limit(limit)
    entries = []
    for row in connection.execute(query):
        tag = ""
        if row.in_doubt:
            waits, until = "Koji to say whether it is still tagged", None
        elif resolved and row.rpms is None:
            waits, until = "Koji to say what is in it", None
        elif row.waits_for_repo:
            tag = row.waits_for_repo
            waits, until = f"the repository of {tag}", row.noticed_at + repo_seconds
        else:
            waits, until = "further updates", row.noticed_at + LONGEST * settle_seconds
        entries.append(Waiting(value_of(row), waits, until, tag))
    return entries


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
