"""Finding images and changes by a part of what they are called."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, String, and_, cast, or_, select

from rebuilder.domain.naming import meant
from rebuilder.store import change_lookup, filters
from rebuilder.store.filters import Filter, contains
from rebuilder.store.models import Change, Image, Rebuild

_NAMES = select(Image.key).where(Image.present)


class FoundImage(Struct, frozen=True):
    """An image by its name and stream, and the state of its last rebuild; empty where it never had one."""

    key: str
    state: str
    present: bool


class FoundChange(Struct, frozen=True):
    """A change by its source build."""

    id: int
    nvr: str
    stream: str
    severity: str
    update: str
    noticed_at: float
    withdrawn: bool


def images(connection: Connection, words: str, limit: int) -> list[FoundImage]:
    """The images with these words in `name:stream`, in the order of that."""
    newest = and_(Rebuild.image_id == Image.id, ~Rebuild.superseded)
    query = select(Image.key, Rebuild.state, Image.present).outerjoin(Rebuild, newest)
    if words:
        query = query.where(contains(Image.key, words))
    rows = connection.execute(query.order_by(Image.key).limit(limit))
    return [FoundImage(image, state or "", present) for image, state, present in rows]


def image_named(connection: Connection, text: str) -> str:
    """The image of the inventory that somebody means: name:stream, or its name alone where it is in one stream.

    Raises RequestError where that is in several, and UnknownError where it is in none.
    """
    alike = or_(Image.named(text), Image.name == text)
    matches = set(connection.scalars(_NAMES.where(alike)))
    return meant(text, matches if text in matches or len(matches) == 1 else names(connection))


def is_matched(connection: Connection, *, image: str = "", stream: str = "", owner: str = "") -> bool:
    """Whether any image fits these, as those of a Filter, also one that has left the inventory."""
    fits = filters.images(Filter(image=image, stream=stream, owner=owner), connection.dialect.name)
    return connection.scalar(select(Image.id).where(*fits).limit(1)) is not None


def all_names(connection: Connection) -> set[str]:
    """All images that ever were in the inventory, as name:stream."""
    return set(connection.scalars(select(Image.key)))


def streams(connection: Connection) -> set[str]:
    """The streams of the images that are in the inventory."""
    return set(connection.scalars(select(Image.stream).where(Image.present).distinct()))


def owners(connection: Connection) -> set[str]:
    """The owners of all images that ever were in the inventory."""
    sources: Iterable[dict[str, Any]] = connection.scalars(select(Image.source))
    return {owner for source in sources for owner in source.get("care", {}).get("owners", ())}


def names(connection: Connection) -> set[str]:
    """The images of the inventory, as name:stream."""
    return set(connection.scalars(_NAMES))


def changes(connection: Connection, words: str, limit: int) -> list[FoundChange]:
    """The changes with these words in their source build, update or CVEs, or that are meant by them, newest first."""
    nvr = Change.source + "-" + Change.version_release
    columns = (Change.id, nvr, Change.stream, Change.severity, Change.update, Change.noticed_at,
               Change.withdrawn_at.is_not(None))
    query = select(*columns)
    if words:
        fields = nvr, cast(Change.update, String), Change.cves
        query = query.where(or_(change_lookup.meant(words), *(contains(field, words) for field in fields)))
    return [FoundChange(*row) for row in connection.execute(query.order_by(Change.id.desc()).limit(limit))]
