"""What operators order, whether at a terminal or over HTTP. It goes through the database, and may be said twice.

What changes rebuilds is only asked for: the engine carries it out in its next pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection

from rebuilder.domain.errors import RequestError
from rebuilder.store import actions, holds, waves
from rebuilder.store.actions import Verb

ORDERS = ("retry", "cancel", "rebuild", "hold", "release", "approve", "pause", "resume")


@dataclass(frozen=True, slots=True)
class Order:
    """One of ORDERS. `target` is an image (name:stream) or a wave's number, `until` when a hold ends by itself."""

    verb: str
    target: str
    who: str
    reason: str = ""
    until: float | None = None
    with_descendants: bool = False


@dataclass(frozen=True, slots=True)
class Given:
    """The number under which an order is kept, and what came of it; None where the engine has yet to answer."""

    id: int
    answer: str | None


def give(connection: Connection, order: Order, now: float) -> Given:
    """Do it, or ask the engine to. Raises UnknownError where there is no such image or wave, else RequestError."""
    match order.verb:
        case "retry" | "cancel":
            return _ask(connection, Verb(order.verb), order, now)
        case "rebuild":
            if _wave(order) is not None:
                told = f"`retry {order.target}` builds again what failed in wave {order.target}"
                raise RequestError(f"{order.target} is no image; {told}")
            return _ask(connection, Verb.REBUILD_ALL if order.with_descendants else Verb.REBUILD, order, now)
        case _:
            answer = _done(connection, order, now)
            words = order.verb, order.target, order.who, order.reason
            return Given(actions.record(connection, *words, now, answer), answer)


def _done(connection: Connection, order: Order, now: float) -> str:
    target, who, reason = order.target, order.who, order.reason
    match order.verb:
        case "hold":
            holds.hold(connection, target, who, reason, order.until, now)
            until = f"{datetime.fromtimestamp(order.until, UTC):%Y-%m-%d %H:%M:%SZ}" if order.until else ""
            return f"{target} is held{f' until {until}' if until else ''}"
        case "release":
            was = holds.release(connection, target, who, reason, now)
            return f"{target} is released" if was else f"{target} was not held"
        case "approve":
            return _approve(connection, order, now)
        case "pause":
            new = holds.pause(connection, who, reason, now)
            return "paused: no builds are started" if new else f"paused already, by {holds.paused(connection)}"
        case "resume":
            return "builds are started again" if holds.resume(connection) else "it was not paused"
        case _:
            raise RequestError(f"unknown order {order.verb}; there are: {', '.join(ORDERS)}")


def _approve(connection: Connection, order: Order, now: float) -> str:
    wave_id = _wave(order)
    if wave_id is None:
        raise RequestError(f"{order.target} is no wave's number")
    found = waves.find(connection, wave_id)
    if waves.approve(connection, wave_id, order.who, now):
        return f"wave {wave_id} is approved"
    return f"wave {wave_id} needs no approval: it is {found.state}"


def _ask(connection: Connection, verb: Verb, order: Order, now: float) -> Given:
    wave_id = _wave(order)
    if wave_id is None:
        holds.image_id(connection, order.target)
    else:
        waves.find(connection, wave_id)
    return Given(actions.request(connection, verb, order.target, order.who, order.reason, now), None)


def _wave(order: Order) -> int | None:
    return int(order.target) if order.target.isascii() and order.target.isdigit() else None
