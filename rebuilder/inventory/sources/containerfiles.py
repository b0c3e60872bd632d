"""A folder of Containerfiles, whose images are in this machine's storage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from rebuilder.config import Settings
from rebuilder.domain.image import Image, Inventory
from rebuilder.inventory import buildah, containerfiles, tree_naming
from rebuilder.inventory.source import InventorySource, KnownInventory, Progress


class Plugin(InventorySource):
    """`source = "containerfiles"`."""

    remembered = True
    needs_path = True
    commands = ("buildah",)
    asks = "path", "stream"
    usual_path = "/srv/containers"
    usual_builder = "buildah"
    told = "Each folder below with a Containerfile is an image, tagged localhost/FOLDER:STREAM."

    def read(self, settings: Settings, known: KnownInventory, progress: Progress | None) -> Inventory:
        of_folders: dict[str, list[str]] = {}
        for image in known.images().values():
            of_folders.setdefault(image.source.path, []).append(image.key)
        return buildah.read(settings, progress, of_folders)

    def at_hand(self, settings: Settings) -> Iterable[Image]:
        inventory = settings.inventory
        if inventory.path is None:
            return ()
        naming = tree_naming.Naming(inventory.stream, {}, inventory.registry, tuple(settings.streams))
        return containerfiles.scan(inventory.path, naming, settings.buildah.build_args).images

    def folders(self, settings: Settings) -> Mapping[str, Path | None]:
        return {"consumer_config.inventory.path": settings.inventory.path}
