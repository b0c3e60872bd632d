"""The inventory's source, and bringing the store in step with it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from sqlalchemy import Engine, select

from rebuilder.config import Settings
from rebuilder.domain.build import InfrastructureError
from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import Inventory
from rebuilder.inventory import file
from rebuilder.inventory.koji import images
from rebuilder.inventory.koji.hub import Hub
from rebuilder.store import inventory
from rebuilder.store.database import reading
from rebuilder.store.models import Image
from rebuilder.store.sync import SyncResult, save_inventory

log = logging.getLogger(__name__)
Progress = Callable[[int, int], None]


def read(engine: Engine, settings: Settings, progress: Progress | None = None) -> Inventory:
    """All images of the configured source; of a build that the store has already, the manifest is left out.

    Raises RequestError where the source is wrong or there is none, and InfrastructureError where it is away.
    """
    path = settings.inventory.path
    if settings.inventory.source == "koji":
        return _from_koji(engine, settings, progress)
    if path is None:
        raise RequestError("no inventory: set consumer_config.inventory.path to a document or a folder")
    if settings.inventory.source == "file":
        return file.read(path).inventory
    from rebuilder.inventory import buildah

    return buildah.read(settings, progress)


def _from_koji(engine: Engine, settings: Settings, progress: Progress | None) -> Inventory:
    with reading(engine) as connection:
        known = images.Known({image.key: image for image in inventory.load(connection).images},
                             inventory.read_builds(connection))
    return images.read(Hub(settings.koji), settings, known, progress)


def sync(engine: Engine, settings: Settings, progress: Progress | None = None) -> SyncResult:
    """Make the store say what the source says, in one transaction."""
    found = read(engine, settings, progress)
    with engine.begin() as connection:
        return save_inventory(connection, found, time.time())


def begin(engine: Engine, settings: Settings) -> None:
    """What the engine does at its start: images that may have moved are looked at anew, a document is read once.

    A source that is away holds nobody up where the images are known. Raises InfrastructureError where they are not.
    """
    if not settings.inventory.named:
        return
    with reading(engine) as connection:
        known = connection.scalar(select(Image.id).limit(1))
    if known is not None and not settings.inventory.moves:
        return
    try:
        sync(engine, settings)
    except InfrastructureError as trouble:
        if known is None:
            raise
        log.warning("the images cannot be looked at anew: %s", trouble)
