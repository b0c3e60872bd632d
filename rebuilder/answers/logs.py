"""What a build says."""

from __future__ import annotations

from sqlalchemy import Engine

from rebuilder.answers.answer import Answer
from rebuilder.config import Settings
from rebuilder.domain.lifecycle import LIVE
from rebuilder.engine import workshop
from rebuilder.store import holds, rebuilds
from rebuilder.store.database import reading

LONGEST = 1_000_000  # characters


class Part(Answer):
    """A part of the log of an image's last build. The next part begins at `next`; while `live`, more will come.

    `built` is false where rebuilder has not built the image yet.
    """

    text: str
    next: int
    live: bool
    built: bool


def read(engine: Engine, settings: Settings, image: str, offset: int) -> Part:
    """The log from `offset` characters on. Raises UnknownError for an unknown image.

    The builder may raise InfrastructureError.
    """
    with reading(engine) as connection:
        holds.image_id(connection, image)
        entry = rebuilds.latest_of_image(connection, image)
    if entry is None or not entry.ref:
        return Part(text="", next=offset, live=entry is not None and entry.state in LIVE, built=False)
    found: list[str] = []
    for text in workshop.builder_for(engine, settings).log(entry.ref, offset):
        found.append(text)
        if sum(map(len, found)) >= LONGEST:
            break
    text = "".join(found)[:LONGEST]
    more = len(text) == LONGEST
    return Part(text=text, next=offset + len(text), live=more or entry.state in LIVE, built=True)
