"""Single builds read from Koji, for the builders whose builds end there."""

from __future__ import annotations

from rebuilder.domain.errors import InfrastructureError
from rebuilder.domain.image import ImageBuild
from rebuilder.inventory.koji.build import ContainerBuild
from rebuilder.inventory.koji.images import image_build
from rebuilder.inventory.koji.manifests import Contents
from rebuilder.inventory.koji.session import Denied, KojiSession


class Reader:
    """Reads from that hub, and keeps what it learns of RPMs."""

    def __init__(self, hub: KojiSession) -> None:
        self._hub = hub
        self._contents = Contents(hub)

    def build(self, image: str, number: int) -> ImageBuild:
        """The container build of that number as one of the image.

        Raises InfrastructureError where Koji does not have it (yet).
        """
        try:
            build = ContainerBuild.parse(self._hub.call("getBuild", number))
        except Denied as error:
            raise InfrastructureError(f"Koji's build {number} cannot be read: {error}") from None
        if build is None:
            raise InfrastructureError(f"Koji has no container build {number}")
        return image_build(image, build, self._contents.read([build.id])[build.id])

    def close(self) -> None:
        """Let go of the hub."""
        self._hub.close()
