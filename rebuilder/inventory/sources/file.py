"""An inventory document that people or scripts write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from rebuilder.config import Settings
from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import Image, Inventory
from rebuilder.inventory import loader
from rebuilder.inventory.source import InventorySource, KnownInventory, Progress


class Plugin(InventorySource):
    """`source = "file"`."""

    written = True
    needs_path = True
    moves = False
    asks = ("path",)
    usual_path = "/etc/rebuilder/images.yaml"
    told = "A document that describes the images: docs/inventory.md."

    def read(self, settings: Settings, known: KnownInventory, progress: Progress | None) -> Inventory:
        return self._document(settings)

    def at_hand(self, settings: Settings) -> Iterable[Image]:
        return self._document(settings).images

    @staticmethod
    def _document(settings: Settings) -> Inventory:
        if settings.inventory.path is None:
            raise RequestError("no inventory: set consumer_config.inventory.path to a document or a folder")
        return loader.read(settings.inventory.path).inventory

    def files(self, settings: Settings) -> Mapping[str, Path | None]:
        return {"consumer_config.inventory.path": settings.inventory.path}
