"""The updates under way: how far each is, what failed, and when it should be done."""

from __future__ import annotations

from sqlalchemy import Connection

from rebuilder.domain.change import most_severe
from rebuilder.domain.forecast import Forecast
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
    for them. Four times in five it is done between `eta_earliest` and `eta_latest`; all three are null where that is
    unknown: where a build runs longer than any before, is held, or no engine runs.
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
    eta_earliest: Moment | None = None
    eta_latest: Moment | None = None


def read(connection: Connection, open_: Forecast, now: float) -> tuple[UpdateUnderWay, ...]:
    """The updates under way, the most severe first; `open_` is the forecast for all that is open."""
    return tuple(_update(name, progress, open_, now) for name, progress in update_progress.read(connection).items())


def _update(name: str, progress: Progress, open_: Forecast, now: float) -> UpdateUnderWay:
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
        **_eta(progress, open_, now),
    )


def _eta(progress: Progress, open_: Forecast, now: float) -> dict[str, Moment | None]:
    """When the last of its open rebuilds should end, where that is known of all of them."""
    ids = [ident for ident, (_, state) in progress.rebuilds.items() if state in OPEN]
    estimate = open_.of(ids) if open_.standing.isdisjoint(ids) else None
    if estimate is None:
        return {"eta": None}
    ends = {"eta": estimate.likely, "eta_earliest": estimate.low, "eta_latest": estimate.high}
    return {name: moment(now + seconds) for name, seconds in ends.items()}
