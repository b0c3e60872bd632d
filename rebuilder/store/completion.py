"""Names that begin as somebody has begun to type them."""

from __future__ import annotations

from sqlalchemy import Connection, String, case, cast, select

from rebuilder.store.models import Change, Image, Wave


def images(connection: Connection, begins: str, limit: int) -> list[str]:
    """Images of the inventory, as name:stream."""
    query = select(Image.key).where(Image.present, Image.key.startswith(begins, autoescape=True))
    return list(connection.scalars(query.order_by(Image.key).limit(limit)))


def waves(connection: Connection, begins: str, limit: int) -> list[tuple[int, str]]:
    """The newest waves, each with its state."""
    number = cast(Wave.id, String)
    query = select(Wave.id, Wave.state).where(number.startswith(begins, autoescape=True))
    return [(wave, state) for wave, state in connection.execute(query.order_by(Wave.id.desc()).limit(limit))]


def changes(connection: Connection, begins: str, limit: int) -> list[tuple[str, str]]:
    """The newest changes as `--update` takes them, with the epoch where there is one; each with its stream."""
    epoch = case((Change.epoch > 0, cast(Change.epoch, String) + ":"), else_="")
    name = Change.source + "-" + epoch + Change.version_release
    query = select(name, Change.stream).where(name.startswith(begins, autoescape=True))
    return [(nvr, stream) for nvr, stream in connection.execute(query.order_by(Change.id.desc()).limit(limit))]
