"""What of some packages an inventory's images carry."""

from __future__ import annotations

from collections.abc import Container

from rebuilder.domain.image import Inventory
from rebuilder.domain.impact import InstalledPackages


def carried(inventory: Inventory, sources: Container[str]) -> InstalledPackages:
    """The RPMs of these source packages in each image's build; an image without a manifest is unknown."""
    read = {build.image: build.manifest.rpms for build in inventory.builds if build.manifest is not None}
    found = {
        image: sorted((rpm for rpm in rpms if rpm.source in sources), key=lambda rpm: rpm.nevra)
        for image, rpms in read.items()
    }
    unknown = frozenset(image.key for image in inventory.images if image.key not in read)
    return InstalledPackages({image: rpms for image, rpms in found.items() if rpms}, unknown)
