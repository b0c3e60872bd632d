"""The updates under way: how far each is, what failed, and when it should be done."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection

from rebuilder.domain.change import most_severe
from rebuilder.domain.lifecycle import OPEN
from rebuilder.queries.answer import Answer
from rebuilder.queries.moment import Moment, moment
from rebuilder.store import update_progress
from rebuilder.store.rebuilds import DONE
from rebuilder.store.update_progress import Progress

BY_HAND = "by hand"


class UpdateUnderWay(Answer):
    """An update, or a change that came with none, that running waves take up; "by hand" is what no change asked for.

    `done` of `total` images are built with it; `failed` names those whose rebuilds failed, `blocked` counts what waits
    for them. `eta` is null where nobody can say.
    """

    name: str
    builds: tuple[str, ...]
    severity: str
    cves: tuple[str, ...]
    waves: tuple[int, ...]
    done: int
    total: int
    failed: tuple[str, ...]
    blocked: int
    eta: Moment | None


def read(connection: Connection, expected: Mapping[int, float]) -> tuple[UpdateUnderWay, ...]:
    """The updates under way, the most severe first. `expected` is when each open rebuild should end, by its id."""
    found = [_update(name, progress, expected) for name, progress in update_progress.read(connection).items()]
    return tuple(found)


def _update(name: str, progress: Progress, expected: Mapping[int, float]) -> UpdateUnderWay:
    states = progress.rebuilds.values()
    still = [ident for ident, (_, state) in progress.rebuilds.items() if state in OPEN]
    known = [expected[ident] for ident in still if ident in expected]
    return UpdateUnderWay(
        name=name or BY_HAND,
        builds=tuple(dict.fromkeys(change.build.nvr for change in progress.changes)),
        severity=str(most_severe(tuple(change.severity for change in progress.changes))),
        cves=tuple(dict.fromkeys(cve for change in progress.changes for cve in change.cves)),
        waves=tuple(sorted(progress.waves)),
        done=sum(state in DONE for _, state in states), total=len(states),
        failed=tuple(sorted(image for image, state in states if state == "failed")),
        blocked=sum(state == "blocked" for _, state in states),
        eta=moment(max(known)) if known and len(known) == len(still) else None,
    )
