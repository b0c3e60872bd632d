"""What of some packages an inventory's images carry."""

from __future__ import annotations

from collections.abc import Container

from rebuilder.domain.affected import Carried
from rebuilder.domain.image import Inventory


def carried(inventory: Inventory, sources: Container[str]) -> Carried:
    """The RPMs of these source packages in each image's build; an image without a manifest is unknown."""
    read = {build.image: build.manifest.rpms for build in inventory.builds if build.manifest is not None}
    found = {
        image: sorted((rpm for rpm in rpms if rpm.source in sources), key=lambda rpm: rpm.nevra)
        for image, rpms in read.items()
    }
    unknown = frozenset(image.key for image in inventory.images if image.key not in read)
    return Carried({image: rpms for image, rpms in found.items() if rpms}, unknown)
