"""What the engine has to do: one question for all of it, because an idle engine asks it again and again."""

from __future__ import annotations

from sqlalchemy import Connection, exists, or_, select

from rebuilder.domain.lifecycle import OPEN
from rebuilder.store.models import Action, Cancellation, Change, Delivery, Message, Rebuild, Wave

_UNPLANNED = (
    exists().where(Message.state == "new"),
    exists().where(Change.state == "settling"),
    exists().where(Wave.state == "planned", Wave.approved_at.is_not(None)),
    exists().where(Action.done_at.is_(None)),
)
_OPEN = (
    exists().where(Rebuild.state.in_(sorted(OPEN))),
    exists().where(Cancellation.id.is_not(None)),
    exists().where(Delivery.state == "pending"),
)
_ANY_UNPLANNED = select(or_(*_UNPLANNED))
_ANY = select(or_(*_UNPLANNED, *_OPEN))


def any_unplanned(connection: Connection) -> bool:
    """Whether a message, a change, an approved wave or what an operator asked for is still to be taken up."""
    return bool(connection.scalar(_ANY_UNPLANNED))


def any_left(connection: Connection) -> bool:
    """The same, or a rebuild is open, a build is to be stopped, or a name is to move."""
    return bool(connection.scalar(_ANY))
