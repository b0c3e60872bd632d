"""Moments of the wall's clock that something is done at, and that move along where that clock is set."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, case, update

from rebuilder.domain.lifecycle import UNDER_WAY, State
from rebuilder.store.models import Change, Rebuild


def follow(connection: Connection, jump: float, now: float, longest: float) -> None:
    """The clock was set ahead by so many seconds, or back where they are negative: what is left of each pause stays.

    No update was noticed later than now, and no rebuild rests longer than `longest`, whatever was written in between.
    """
    noticed = _moved(Change.noticed_at, jump, now)
    connection.execute(update(Change).where(Change.state == "settling").values(noticed_at=noticed))
    resting = Rebuild.state.in_([State.QUEUED, State.SUBMITTING]), Rebuild.not_before > 0
    again = _moved(Rebuild.not_before, jump, now + longest)
    connection.execute(update(Rebuild).where(*resting).values(not_before=again))
    started = _moved(Rebuild.started_at, jump, now)
    live = Rebuild.state.in_(UNDER_WAY), Rebuild.started_at.is_not(None)
    connection.execute(update(Rebuild).where(*live).values(started_at=started))


def _moved(column: ColumnElement[Any], jump: float, latest: float) -> ColumnElement[float]:
    return case((column + jump > latest, latest), else_=column + jump)
