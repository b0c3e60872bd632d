"""The images of a folder tree, as they are in this machine's storage."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor

from rebuilder.config import Settings
from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import Image, ImageBuild, Inventory
from rebuilder.inventory import containerfiles, tree_naming
from rebuilder.inventory.buildah_cli import Storage

READERS = 4
NO_IMAGES: Mapping[str, Collection[str]] = {}


def read(
    settings: Settings,
    progress: Callable[[int, int], None] | None = None,
    of_folders: Mapping[str, Collection[str]] = NO_IMAGES,
) -> Inventory:
    """The tree's images with their builds; one that was never built here has none.

    Raises RequestError where there is no tree, or the storage is wrong. A file that is wrong stops nothing, and neither
    does an image whose RPM database cannot be read: its contents are unknown. `progress` hears of each image read.
    `of_folders` has the images that folders made before, by their paths: they keep their names.
    """
    path = settings.inventory.path
    if path is None:
        raise RequestError("consumer_config.inventory.path: set it to the folder of the Containerfiles")
    inventory = settings.inventory
    naming = tree_naming.Naming(inventory.stream, of_folders, inventory.registry, tuple(settings.streams))
    tree = containerfiles.scan(path, naming, settings.buildah.build_args)
    storage = Storage(settings.buildah)
    ids = storage.ids()
    there = [(image, ids[tag]) for image in tree.images if (tag := tree_naming.tag(image.key)) in ids]
    builds = []
    with ThreadPoolExecutor(READERS) as pool:
        for build in pool.map(lambda pair: _build(storage, *pair), there):
            builds.append(build)
            if progress:
                progress(len(builds), len(there))
    return Inventory(tree.images, settings.known_streams, tuple(builds), tree.faults, tree.hints)


def _build(storage: Storage, image: Image, ident: str) -> ImageBuild:
    stored = storage.inspect(ident)
    return ImageBuild(image.key, ident, storage.known(stored), stored.parents, externals=stored.externals)
