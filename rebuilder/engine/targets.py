"""Which images and waves an operator means, who may name several, and patterns."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from sqlalchemy import Connection

from rebuilder.domain import naming
from rebuilder.domain.command import OF_IMAGES, wave_of
from rebuilder.domain.errors import UnknownError
from rebuilder.domain.lifecycle import OPEN, State
from rebuilder.domain.policy import Pattern
from rebuilder.store import deliveries, holds, rebuilds, search, verdicts

CONCERNED = {"release": "held", "retry": "to be tried again", "cancel": "being rebuilt",
             "promote": "waiting to be promoted", "gate": "waiting for a gate"}
TO_RETRY = frozenset({State.FAILED, State.CANCELED, State.BLOCKED})


def resolved(connection: Connection, verb: str, texts: Sequence[str], now: float) -> list[str]:
    """The images (name:stream), and numbers of waves, that are meant, each once, in the order in which they are named.

    A pattern (`web-*`, or an expression between slashes) stands for the images that it fits, and that the verb would
    do something with: those on hold for `release`, those that failed for `retry`. Raises UnknownError where one of
    the texts stands for nothing, and RequestError where a name is in several streams.
    """
    names: dict[str, None] = {}
    for text in texts:
        if verb not in OF_IMAGES or wave_of(text) is not None:
            names[text] = None
        elif is_pattern(text):
            names |= dict.fromkeys(_fitting(connection, verb, text, now))
        else:
            names[search.image_named(connection, text)] = None
    return list(names)


def is_pattern(text: str) -> bool:
    """Whether the text may stand for several images."""
    return any(mark in text for mark in "*?[") or (len(text) > 1 and text[0] == text[-1] == "/")


def _fitting(connection: Connection, verb: str, text: str, now: float) -> list[str]:
    pattern = Pattern.parse(text)
    names = search.names(connection)
    fitting = _that_fit(pattern, names)
    if not fitting:
        raise UnknownError(naming.no_image_fits(text, names))
    if verb not in CONCERNED:
        return fitting
    concerned = _that_fit(pattern, _concerned(connection, verb, now))
    if not concerned:
        raise UnknownError(f"of the {len(fitting)} images that match {text}, none is {CONCERNED[verb]}")
    return concerned


def _that_fit(pattern: Pattern, keys: Iterable[str]) -> list[str]:
    return sorted(key for key in keys if pattern.fits_image(key))


def _concerned(connection: Connection, verb: str, now: float) -> Collection[str]:
    if verb == "release":
        return holds.held(connection, now)
    if verb == "promote":
        return {one.image for one in deliveries.waiting(connection)}
    if verb == "gate":
        return {one.image for one in verdicts.gated(connection)}
    return rebuilds.images_in(connection, TO_RETRY if verb == "retry" else OPEN | {State.BLOCKED})
