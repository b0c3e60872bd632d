"""The inventory's source, and bringing the store in step with it."""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import Engine, select

from rebuilder.config import Settings
from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import Inventory
from rebuilder.inventory import file
from rebuilder.store import inventory
from rebuilder.store.database import reading
from rebuilder.store.inventory import SyncResult
from rebuilder.store.models import Image

Progress = Callable[[int, int], None]


def read(settings: Settings, progress: Progress | None = None) -> Inventory:
    """All images of the configured source. Raises RequestError where it is wrong or there is none."""
    path = settings.inventory.path
    if path is None:
        raise RequestError("no inventory: set consumer_config.inventory.path to a document or a folder")
    if settings.inventory.source == "file":
        return file.read(path).inventory
    from rebuilder.inventory import buildah

    return buildah.read(settings, progress)


def sync(engine: Engine, settings: Settings, progress: Progress | None = None) -> SyncResult:
    """Make the store say what the source says, in one transaction."""
    found = read(settings, progress)
    with engine.begin() as connection:
        return inventory.sync(connection, found, time.time())


def begin(engine: Engine, settings: Settings) -> None:
    """What the engine does at its start: images on this machine are looked at anew, a document is read once."""
    if settings.inventory.path is None:
        return
    with reading(engine) as connection:
        known = connection.scalar(select(Image.id).limit(1))
    if known is None or settings.inventory.source != "file":
        sync(engine, settings)
