"""What the engine has to do: one question for all of it, because an idle engine asks it again and again."""

from __future__ import annotations

from sqlalchemy import Connection, exists, or_, select

from rebuilder.domain.lifecycle import OPEN
from rebuilder.store import cancellations, deliveries, waves
from rebuilder.store.models import Action, Change, Message, Rebuild

_UNPLANNED = (
    exists().where(Message.state == "new"),
    exists().where(Change.state == "settling"),
    exists().where(waves.IS_APPROVED),
    exists().where(Action.done_at.is_(None)),
)
_OPEN = (
    exists().where(Rebuild.state.in_(sorted(OPEN))),
    cancellations.IS_ANY_PENDING,
    deliveries.IS_ANY_PENDING,
)
_ANY_UNPLANNED = select(or_(*_UNPLANNED))
_ANY = select(or_(*_UNPLANNED, *_OPEN))


def any_unplanned(connection: Connection) -> bool:
    """Whether a message, a change, an approved wave or what an operator asked for is still to be taken up."""
    return bool(connection.scalar(_ANY_UNPLANNED))


def any_left(connection: Connection) -> bool:
    """The same, or a rebuild is open, a build is to be stopped, or a name is to move."""
    return bool(connection.scalar(_ANY))
