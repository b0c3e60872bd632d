"""Images on hold, and the whole engine paused: each with who, since when and why."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct
from sqlalchemy import Connection, delete, insert, select

from rebuilder.domain.errors import UnknownError
from rebuilder.store.actions import Verb, request
from rebuilder.store.models import Hold, Image, Pause
from rebuilder.store.read_cache import cached
from rebuilder.store.upsert import insert_one


class Held(Struct, frozen=True):
    """Who holds an image since when, until when (None is for ever), and why."""

    image: str
    who: str
    reason: str
    since: float
    until: float | None

    def __str__(self) -> str:
        return f"{self.who}: {self.reason}" if self.reason else self.who


def held(connection: Connection, now: float) -> dict[str, Held]:
    """The holds that are in force, by image."""
    holds = cached(connection, "holds", lambda: tuple(_holds(connection)))
    return {one.image: one for one in holds if one.until is None or one.until > now}


def _holds(connection: Connection) -> Iterator[Held]:
    """All holds, those that have ended by themselves too."""
    columns = Image.key, Hold.who, Hold.reason, Hold.since, Hold.until
    query = select(*columns).join(Image, Image.id == Hold.image_id).order_by(Image.name, Image.stream)
    return (Held(*row) for row in connection.execute(query))


def hold(connection: Connection, image: str, who: str, reason: str, until: float | None, now: float) -> None:
    """Hold an image; one that is held already is from now on held by these words. Raises RequestError."""
    ident = image_id(connection, image)
    connection.execute(delete(Hold).where(Hold.image_id == ident))
    row = {"image_id": ident, "who": who, "reason": reason, "since": now, "until": until}
    connection.execute(insert(Hold).values(row))


def release(connection: Connection, image: str, who: str, reason: str, now: float) -> bool:
    """Let an image be built again, with all that it missed; whether it was held. Raises RequestError."""
    gone = connection.execute(
        delete(Hold).where(Hold.image_id == image_id(connection, image)).returning(Hold.image_id)
    ).first()
    if gone is not None:
        request(connection, Verb.CATCH_UP, image, who, reason, now)
    return gone is not None


def image_id(connection: Connection, image: str) -> int:
    """Raises UnknownError for an image that is not in the inventory."""
    ident = connection.scalar(select(Image.id).where(Image.named(image), Image.present))
    if ident is None:
        raise UnknownError(f"unknown image {image}")
    return ident


class Paused(Struct, frozen=True):
    """Who paused the engine, since when, until when (None is until `resume`), and why."""

    who: str
    reason: str
    since: float
    until: float | None

    def __str__(self) -> str:
        return f"{self.who}: {self.reason}" if self.reason else self.who


_PAUSED = select(Pause.who, Pause.reason, Pause.since, Pause.until)  # made once: it is asked in every pass


def paused(connection: Connection, now: float) -> Paused | None:
    """Whether the engine must start no builds."""
    pauses = cached(connection, "pause", lambda: [Paused(*row) for row in connection.execute(_PAUSED)])
    return next((one for one in pauses if one.until is None or one.until > now), None)


def pause(connection: Connection, who: str, reason: str, now: float, until: float | None = None) -> bool:
    """Start no builds from now on; whether that is new. One that is paused already stays so by its own words."""
    connection.execute(delete(Pause).where(Pause.until <= now))
    return insert_one(connection, Pause, {"id": 1, "who": who, "reason": reason, "since": now, "until": until})


def resume(connection: Connection, now: float) -> bool:
    """Start builds again; whether the engine was paused."""
    was = paused(connection, now) is not None
    connection.execute(delete(Pause))
    return was
