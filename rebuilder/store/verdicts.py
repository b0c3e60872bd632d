"""What tests and gates say of builds that are proven: asked for with the proof, answered afterwards."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any

from msgspec import Struct, to_builtins
from sqlalchemy import Connection, Select, bindparam, delete, exists, insert, or_, select, update

from rebuilder.domain.checks import CheckKind, Checks, ImageTest
from rebuilder.domain.lifecycle import RebuildRecord, State
from rebuilder.store import rebuilds
from rebuilder.store.models import GateAnswer, Image, ImageBuild, Rebuild, Verdict, aliased

CI = "CI"  # who answers by message
_NAMES = select(ImageBuild.ident, ImageBuild.digest).where(ImageBuild.id.in_(bindparam("builds", expanding=True)))
_EARLY = select(GateAnswer.__table__).where(GateAnswer.build.in_(bindparam("names", expanding=True)))


class PendingVerdict(Struct, frozen=True):
    """An answer that is waited for: of what kind, about which build of which rebuild. `test` is what is run, if any.

    `state` is the rebuild's: where that is not tested any more, no rebuild waits for the answer.
    """

    id: int
    rebuild_id: int
    image: str
    key: str
    ident: str
    kind: CheckKind
    state: State
    test: ImageTest
    since: float


def request(connection: Connection, builds: Sequence[tuple[RebuildRecord, int, Checks]], now: float) -> None:
    """These rebuilds' builds, by their ids, are to be checked."""
    rows = [
        {"rebuild_id": entry.id, "build_id": build_id, "kind": str(kind), "requested_at": now,
         "test": to_builtins(checks.test) if checks.test and kind is CheckKind.TEST else {}}
        for entry, build_id, checks in builds
        for kind in checks.kinds
    ]  # fmt: skip
    if rows:
        connection.execute(insert(Verdict), rows)
    if gated := [build_id for _, build_id, checks in builds if checks.gate]:
        _find_early(connection, gated, now)


def _find_early(connection: Connection, builds: Sequence[int], now: float) -> None:
    """Answers for these builds' gates may have come before anybody waited for them."""
    for ident, digest in connection.execute(_NAMES, {"builds": builds}).all():
        for row in connection.execute(_EARLY, {"names": [name for name in (ident, digest) if name]}):
            answer_for(connection, [row.build], row.passed, row.reason, now, who=row.who)


def answer_for(
    connection: Connection, builds: Sequence[str], passed: bool, reason: str, now: float, who: str = CI
) -> None:
    """Answer for the gates of these builds (NVRs, image ids, digests); who asks later finds the answer, too."""
    rows = [{"build": name, "passed": passed, "reason": reason, "who": who, "at": now} for name in builds]
    connection.execute(delete(GateAnswer).where(GateAnswer.build.in_(builds)))
    connection.execute(insert(GateAnswer), rows)
    named = or_(ImageBuild.ident.in_(builds), ImageBuild.digest.in_(builds))
    waiting = select(Verdict.id).join(ImageBuild, ImageBuild.id == Verdict.build_id)
    waiting = waiting.where(Verdict.state == "pending", Verdict.kind == CheckKind.GATE, named)
    for ident in connection.scalars(waiting).all():
        answer(connection, ident, passed, reason, who, now)


def pending(connection: Connection) -> list[PendingVerdict]:
    """All answers that are waited for, the oldest first."""
    return [
        PendingVerdict(ident, rebuild, image, key, build, CheckKind(kind), State(state), _test(test), since)
        for ident, rebuild, image, key, build, kind, state, test, since in connection.execute(_pending())
    ]


def gated(connection: Connection) -> list[PendingVerdict]:
    """The answers that somebody else is waited for, about builds that are still tested, the oldest first."""
    return [one for one in pending(connection) if one.kind is CheckKind.GATE and one.state is State.TESTING]


@cache
def _pending() -> Select[Any]:
    """Made once: it is asked in every pass."""
    columns = (
        Verdict.id, Verdict.rebuild_id, Image.key, Rebuild.key, ImageBuild.ident, Verdict.kind, Rebuild.state,
        Verdict.test, Verdict.requested_at,
    )
    return (
        select(*columns)
        .join(Rebuild, Rebuild.id == Verdict.rebuild_id)
        .join(Image, Image.id == Rebuild.image_id)
        .join(ImageBuild, ImageBuild.id == Verdict.build_id)
        .where(Verdict.state == "pending")
        .order_by(Verdict.id)
    )


def _test(fields: Mapping[str, Any]) -> ImageTest:
    return ImageTest(**{**fields, "command": tuple(fields["command"])}) if fields else ImageTest()


def answer(connection: Connection, verdict_id: int, passed: bool, reason: str, who: str, now: float) -> bool:
    """Write the answer down; whether it was still waited for."""
    mine = update(Verdict).where(Verdict.id == verdict_id, Verdict.state == "pending")
    said = mine.values(state="passed" if passed else "failed", reason=reason, who=who, done_at=now)
    return connection.execute(said).rowcount == 1


def void(connection: Connection, ids: Collection[int], now: float) -> None:
    """No rebuild waits for these answers any more."""
    mine = update(Verdict).where(Verdict.id.in_(ids), Verdict.state == "pending")
    connection.execute(mine.values(state="void", done_at=now))


class Check(Struct, frozen=True):
    """What was asked of a rebuild's build: `state` is pending, passed, failed, or void; `who` answered for a gate."""

    kind: CheckKind
    state: str
    reason: str
    who: str
    since: float
    answered: float | None


def of_rebuild(connection: Connection, rebuild_id: int) -> list[Check]:
    """All that was asked of the rebuild's builds, the oldest first."""
    columns = Verdict.kind, Verdict.state, Verdict.reason, Verdict.who, Verdict.requested_at, Verdict.done_at
    rows = connection.execute(select(*columns).where(Verdict.rebuild_id == rebuild_id).order_by(Verdict.id))
    return [Check(CheckKind(row[0]), *row[1:]) for row in rows]


def is_tested(connection: Connection, rebuild_id: int) -> bool:
    """Whether a test of ours was asked for."""
    mine = Verdict.rebuild_id == rebuild_id, Verdict.kind == CheckKind.TEST
    return bool(connection.scalar(select(exists().where(*mine))))


_ANY_TEST = select(exists().where(Verdict.state == "pending", Verdict.kind == CheckKind.TEST))


def any_test(connection: Connection) -> bool:
    """Whether a test is to be run, or runs."""
    return bool(connection.scalar(_ANY_TEST))


class Answered(Struct, frozen=True):
    """A rebuild whose build has been judged: why it is not good, "" where it is."""

    entry: RebuildRecord
    build_id: int
    fault: str


def answered(connection: Connection) -> list[Answered]:
    """The rebuilds that are tested, and of which all has answered, or something has said that the build is bad."""
    entries = rebuilds.entries(connection, _settled())
    if not entries:
        return []
    of_these = Verdict.rebuild_id.in_([entry.id for entry in entries])
    query = select(Verdict.rebuild_id, Verdict.build_id, Verdict.kind, Verdict.state, Verdict.reason, Verdict.who)
    builds: dict[int, int] = {}
    faults: dict[int, list[str]] = {}
    newest = Rebuild.id == Verdict.rebuild_id, Rebuild.build_id == Verdict.build_id
    rows = connection.execute(query.join(Rebuild, newest[0]).where(of_these, newest[1]).order_by(Verdict.id))
    for rebuild_id, build_id, kind, state, reason, who in rows:
        builds[rebuild_id] = build_id
        if state == "failed":
            cause = f"the gate was closed by {who}" if kind == CheckKind.GATE else ""
            faults.setdefault(rebuild_id, []).append(": ".join(filter(None, (cause, reason))))
    return [Answered(entry, builds[entry.id], "; ".join(faults.get(entry.id, ()))) for entry in entries]


@cache
def _settled() -> Select[Any]:
    """Made once: it is asked in every pass."""
    one, other = aliased(Verdict), aliased(Verdict)
    mine = one.rebuild_id == Rebuild.id, one.build_id == Rebuild.build_id
    failed = exists().where(*mine, one.state == "failed")
    waits = exists().where(other.rebuild_id == Rebuild.id, other.state == "pending")
    query = rebuilds.selected().where(Rebuild.state == State.TESTING, failed | ~waits)
    return query.order_by(Rebuild.id)
