"""What operators command, whether at a terminal or over HTTP. It goes through the database, and may be given twice.

What changes rebuilds is only asked for: the engine carries it out in its next pass.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Connection

from rebuilder.domain.command import COMMANDS, OF_IMAGES, Command, wave_of
from rebuilder.domain.errors import RequestError
from rebuilder.domain.times import format_time
from rebuilder.engine import delivery, rollbacks
from rebuilder.store import actions, holds, search, waves
from rebuilder.store.actions import Decision, Verb
from rebuilder.store.rollbacks import RequestedRollback


class CommandReceipt(Struct, frozen=True):
    """The number under which a command is kept, and what came of it; None where the engine has yet to answer."""

    id: int
    answer: str | None


def resolved(connection: Connection, command: Command) -> Command:
    """The command with the whole name of the image that is meant. Raises UnknownError where there is none."""
    if command.verb not in OF_IMAGES or wave_of(command.target) is not None:
        return command
    return replace(command, target=search.image_named(connection, command.target))


def give(connection: Connection, command: Command, now: float) -> CommandReceipt:
    """Do it, or ask the engine to. Raises UnknownError where there is no such image or wave, else RequestError."""
    command = resolved(connection, command)
    match command.verb:
        case "retry" | "cancel":
            return _ask(connection, Verb(command.verb), command, now)
        case "rollback":
            request = RequestedRollback(0, command.target, command.who, command.reason, command.build,
                                        command.with_descendants)  # fmt: skip
            return CommandReceipt(rollbacks.give(connection, request, now), None)
        case "rebuild":
            if wave_of(command.target) is not None:
                hint = f"`retry {command.target}` builds again what failed in wave {command.target}"
                raise RequestError(f"no such image: {command.target}; {hint}")
            return _ask(connection, Verb.REBUILD_ALL if command.with_descendants else Verb.REBUILD, command, now)
        case _:
            answer = _done(connection, command, now)
            decision = Decision(command.verb, command.target, command.who, command.reason)
            return CommandReceipt(actions.record(connection, decision, answer, now), answer)


def _done(connection: Connection, command: Command, now: float) -> str:
    target, who, reason = command.target, command.who, command.reason
    match command.verb:
        case "hold":
            holds.hold(connection, target, who, reason, command.until, now)
            return f"{target} is held{_until(command.until)}"
        case "release":
            was = holds.release(connection, target, who, reason, now)
            return f"{target} is released" if was else f"{target} was not held"
        case "promote":
            return delivery.promote(connection, target, wave_of(target), now)
        case "gate":
            return delivery.gate(connection, command, now)
        case "approve":
            return _approve(connection, command, now)
        case "pause":
            return _pause(connection, command, now)
        case "resume":
            return "builds are started again" if holds.resume(connection, now) else "it was not paused"
        case _:
            raise RequestError(f"unknown command {command.verb}; there are: {', '.join(COMMANDS)}")


def _pause(connection: Connection, command: Command, now: float) -> str:
    if holds.pause(connection, command.who, command.reason, now, command.until):
        return f"paused{_until(command.until)}: no builds are started"
    paused = holds.paused(connection, now)
    assert paused is not None
    return f"paused already{_until(paused.until)}, by {paused}"


def _until(moment: float | None) -> str:
    return f" until {format_time(moment)}" if moment is not None else ""


def _approve(connection: Connection, command: Command, now: float) -> str:
    wave_id = wave_of(command.target)
    if wave_id is None:
        raise RequestError(f"no such wave: {command.target}")
    wave = waves.find(connection, wave_id)
    if waves.approve(connection, wave_id, command.who, now):
        return f"wave {wave_id} is approved"
    return f"wave {wave_id} needs no approval: it is {wave.state}"


def _ask(connection: Connection, verb: Verb, command: Command, now: float) -> CommandReceipt:
    wave_id = wave_of(command.target)
    if wave_id is not None:
        waves.find(connection, wave_id)
    return CommandReceipt(actions.request(connection, verb, command.target, command.who, command.reason, now), None)
