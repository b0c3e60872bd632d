"""What operators did, and what they asked the engine to do: each with who, when and why."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct
from msgspec.structs import asdict
from sqlalchemy import Connection, insert, select, update

from rebuilder.store.models import Action

ROLLBACK = "rollback"  # asked for in words of its own: see rollbacks.py
# Made once: they are asked in every pass.
_REQUESTED = (
    select(Action.id, Action.verb, Action.target, Action.who, Action.reason)
    .where(Action.done_at.is_(None), Action.verb != ROLLBACK)
    .order_by(Action.id)
)


class Verb(StrEnum):
    """What only the engine carries out, because nothing else may change a rebuild."""

    RETRY = "retry"
    CANCEL = "cancel"
    REBUILD = "rebuild"
    REBUILD_ALL = "rebuild-all"  # with descendants
    CATCH_UP = "catch-up"  # what a hold kept from being planned, or what a read of the inventory shows to be missing


class Request(Struct, frozen=True):
    """An operator's wish. `target` is an image (name:stream) or the number of a wave."""

    id: int
    verb: Verb
    target: str
    who: str
    reason: str

    @property
    def wave(self) -> int | None:
        """The wave that is meant; None where its target is not a number."""
        return int(self.target) if self.target.isascii() and self.target.isdigit() else None

    def __str__(self) -> str:
        return f"{self.verb} by {self.who}{f': {self.reason}' if self.reason else ''}"


class Decision(Struct, frozen=True):
    """What an operator decided about an image, a wave, or (with an empty target) the engine."""

    verb: str
    target: str
    who: str
    reason: str


def record(connection: Connection, decision: Decision, answer: str, now: float) -> int:
    """Write down what an operator decided, and what was done with that; its number."""
    row = {**asdict(decision), "at": now, "done_at": now, "answer": answer}
    return connection.execute(insert(Action).values(row).returning(Action.id)).scalar_one()


def request(connection: Connection, verb: Verb, target: str, who: str, reason: str, now: float) -> int:
    """Ask the engine; the number of the request. One that is asked for already is not asked for twice."""
    same = select(Action.id).where(Action.done_at.is_(None), Action.verb == verb, Action.target == target)
    action_id = connection.scalar(same)
    if action_id is not None:
        return action_id
    row = {"at": now, "who": who, "verb": str(verb), "target": target, "reason": reason}
    return connection.execute(insert(Action).values(row).returning(Action.id)).scalar_one()


def requested(connection: Connection) -> list[Request]:
    """What the engine has not carried out yet, in the order of asking."""
    return [Request(row.id, Verb(row.verb), *row[2:]) for row in connection.execute(_REQUESTED)]


def carried_out(connection: Connection, request_id: int, answer: str, now: float) -> None:
    """Note what came of a request."""
    connection.execute(update(Action).where(Action.id == request_id).values(done_at=now, answer=answer))


def answer(connection: Connection, request_id: int) -> str | None:
    """What came of a request; None while the engine has not carried it out."""
    row = connection.execute(select(Action.done_at, Action.answer).where(Action.id == request_id)).one()
    return None if row.done_at is None else row.answer
