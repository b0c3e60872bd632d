"""The images in repositories of a registry."""

from __future__ import annotations

from rebuilder.config import Settings
from rebuilder.domain.image import Inventory
from rebuilder.inventory.registry import images
from rebuilder.inventory.source import InventorySource, KnownInventory, Progress


class Plugin(InventorySource):
    """`source = "registry"`."""

    written = True
    remembered = True
    asks = "repositories", "tags"
    told = "The images of these repositories, as their tags have them: docs/registry.md."

    def read(self, settings: Settings, known: KnownInventory, progress: Progress | None) -> Inventory:
        last = known.last_digests(images.REMEMBERED)
        before = images.Known(known.images(), known.builds(), known.unread(), last)
        return images.read(settings, before, progress)
