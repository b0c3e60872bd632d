"""Pending changes: what each of them waits for, and which are planned together, now."""

from __future__ import annotations

from collections.abc import Collection

from msgspec import Struct
from sqlalchemy import Connection, Double, bindparam, or_, select, update

from rebuilder.domain.change import Change as ChangeValue
from rebuilder.domain.change import Severity
from rebuilder.store.changes import StoredChange, stored_change_of, value_of
from rebuilder.store.models import Change

LONGEST = 10  # times settle_seconds
# Made once: they are asked in every pass.
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
_READY_RESOLVED = _READY.where(Change.rpms.is_not(None))


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
