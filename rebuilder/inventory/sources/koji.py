"""The images in the streams' tags of a Koji hub."""

from __future__ import annotations

from rebuilder.config import Settings
from rebuilder.domain.image import Inventory
from rebuilder.inventory.koji import images, session
from rebuilder.inventory.koji.images import Known
from rebuilder.inventory.koji.session import KojiSession
from rebuilder.inventory.source import InventorySource, KnownInventory, Progress


class Plugin(InventorySource):
    """`source = "koji"`."""

    follows_koji_tags = True
    asks = ("koji_tags",)
    usual_builder = "koji"
    told = "Every image in the koji_tags of the streams."

    def read(self, settings: Settings, known: KnownInventory, progress: Progress | None) -> Inventory:
        unread = known.unread()
        whole = {image: ident for image, ident in known.builds().items() if image not in unread}
        hub = KojiSession(settings.koji)
        return images.read(hub, settings, Known(known.images(), whole, known.cache), progress)

    def check(self, settings: Settings) -> None:
        session.check(settings.koji, building=False)
