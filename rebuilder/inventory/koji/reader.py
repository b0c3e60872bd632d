"""Single builds read from Koji, for a builder that Koji does not run but hears of."""

from __future__ import annotations

from rebuilder.config import KojiSettings
from rebuilder.domain.build import Aborted
from rebuilder.domain.image import ImageBuild
from rebuilder.inventory.koji.build import ContainerBuild
from rebuilder.inventory.koji.contents import Contents
from rebuilder.inventory.koji.hub import Hub, Refused
from rebuilder.inventory.koji.images import image_build


class Reader:
    """Asks a hub, without logging in. Raises RequestError where the settings lack what is needed."""

    def __init__(self, settings: KojiSettings) -> None:
        self._hub = Hub(settings)
        self._contents = Contents(self._hub)

    def build(self, image: str, number: int) -> ImageBuild:
        """The container build of that number as one of the image. Raises Aborted where Koji does not have it (yet)."""
        try:
            build = ContainerBuild.parse(self._hub.call("getBuild", number))
        except Refused as refusal:
            raise Aborted(f"Koji's build {number} cannot be read: {refusal}") from None
        if build is None:
            raise Aborted(f"Koji has no container build {number}")
        return image_build(image, build, self._contents.read([build.id])[build.id])

    def close(self) -> None:
        self._hub.close()
