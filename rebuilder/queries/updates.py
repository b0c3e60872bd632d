"""The updates under way: how far each is, what failed, and when it should be done."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection

from rebuilder.domain.change import most_severe
from rebuilder.domain.lifecycle import OPEN, State
from rebuilder.queries.answer import Answer
from rebuilder.queries.moment import Moment, moment
from rebuilder.store import update_progress
from rebuilder.store.rebuilds import DONE
from rebuilder.store.update_progress import Progress

BY_HAND = "by hand"


class UpdateUnderWay(Answer):
    """An update, or a change that came with none, that running waves take up; "by hand" is what no change asked for.

    A new digest of an external parent is one, too, as SPEC@DIGEST.

    `done` of `total` images are built with it; `failed` names those whose rebuilds failed, `blocked` counts what waits
    for them. `eta` is null where it is unknown.
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
    changes = progress.changes
    return UpdateUnderWay(
        name=name or BY_HAND,
        builds=tuple(dict.fromkeys(change.build.nvr for change in changes)),
        severity=str(most_severe(tuple(change.severity for change in changes))),
        cves=tuple(dict.fromkeys(cve for change in changes for cve in change.cves)),
        waves=tuple(sorted(progress.waves)),
        done=len(progress.images_in(DONE)), total=len(progress.rebuilds),
        failed=tuple(sorted(progress.images_in({State.FAILED}))),
        blocked=len(progress.images_in({State.BLOCKED})),
        eta=_eta(progress, expected),
    )


def _eta(progress: Progress, expected: Mapping[int, float]) -> Moment | None:
    """When the last of its open rebuilds should end, where that is known of all of them."""
    ends = [expected.get(ident) for ident, (_, state) in progress.rebuilds.items() if state in OPEN]
    known = [end for end in ends if end is not None]
    return moment(max(known)) if known and len(known) == len(ends) else None
