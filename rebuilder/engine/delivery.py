"""What operators and other builders say of builds that are proven: whether they are good, and that they may go out."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from rebuilder.domain.command import Command
from rebuilder.domain.errors import RequestError
from rebuilder.domain.wording import few
from rebuilder.store import deliveries, holds, verdicts, waves
from rebuilder.store.deliveries import Waiting


def promote(connection: Connection, target: str, wave_id: int | None, now: float) -> str:
    """Let the names move that wait for it: of an image, or of a wave. Those of images on hold stay.

    Raises UnknownError where there is no such wave, and RequestError where the image is on hold.
    """
    if wave_id is not None:
        waves.find(connection, wave_id)
    held = holds.held(connection, now)
    if target in held:
        raise RequestError(f"{target} is held by {held[target]}: release it first")
    waiting = [one for one in deliveries.waiting(connection) if target in (one.image, str(one.wave_id))]
    ready = [one for one in waiting if one.image not in held]
    deliveries.promote(connection, [one.id for one in ready], now)
    what = f"wave {wave_id}" if wave_id is not None else target
    return _told(waiting, ready) or f"{what} has nothing that waits to be promoted"


def _told(waiting: Sequence[Waiting], ready: Sequence[Waiting]) -> str:
    """Which images' names move, of those that wait, and which do not."""
    moving = {one.image for one in ready}
    kept = {one.image for one in waiting} - moving
    said = {"promoting {}": moving, "{} stays: on hold": kept}
    return "; ".join(words.format(few(sorted(images))) for words, images in said.items() if images)


def gate(connection: Connection, command: Command, now: float) -> str:
    """Answer for the gate of an image's build. Raises RequestError where no such build waits for one."""
    waiting = [one for one in verdicts.gated(connection) if one.image == command.target]
    if not waiting:
        raise RequestError(f"{command.target} has no build that waits for a gate")
    meant = [one for one in waiting if command.build in ("", one.ident)]
    if not meant:
        raise RequestError(f"{command.target}: {waiting[-1].ident} waits for the gate, and not {command.build}")
    one = meant[-1]
    verdicts.answer(connection, one.id, command.passed, command.reason, command.who, now)
    return f"{one.image}: {one.ident} {'passes' if command.passed else 'fails'} the gate"
