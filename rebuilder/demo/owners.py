"""The owners of the base image: they build it on a machine of their own, and push it to the registry."""

from __future__ import annotations

from pathlib import Path

from rebuilder.builders.buildah import BuildahBuilder
from rebuilder.config import BuildahSettings, RegistrySettings
from rebuilder.demo import images
from rebuilder.demo.workspace import first_build
from rebuilder.domain.image import Image, ImageBuild, Source
from rebuilder.inventory.buildah_cli import Storage
from rebuilder.inventory.platforms import HERE
from rebuilder.registry.reader import RegistryReader

SECONDS = 60.0


class Owners:
    """`spec` is what everybody calls their image."""

    def __init__(self, settings: BuildahSettings, folder: Path, spec: str) -> None:
        self.spec = spec
        self._image = Image(images.BASE_NAME, images.STREAM, source=Source(path=str(folder)))
        self._builder, self._storage = BuildahBuilder(settings), Storage(settings)
        self._reader = RegistryReader(RegistrySettings())
        self._pushed = 0

    def push(self) -> ImageBuild:
        """Build the base on what the repository has now, and push it; what the registry has then. Raises Failed."""
        self._pushed += 1
        built = first_build(self._builder, self._image, (), f"theirs-{self._pushed}")
        self._storage.push(built.ident, self.spec, None, SECONDS)
        image = self._reader.resolve(self.spec)
        return ImageBuild(self.spec, image.digest, self._reader.contents(image, HERE).manifest)
