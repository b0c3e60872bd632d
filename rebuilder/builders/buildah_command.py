"""The command that builds an image with buildah, and what it writes on the image."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rebuilder.builders.local_images import own_name
from rebuilder.builders.pins import Pin, Pinning
from rebuilder.config import BuildahSettings, RegistrySettings
from rebuilder.domain.annotations import BaseName, annotations_of, external_base
from rebuilder.domain.build import BuildRequest, InfrastructureError
from rebuilder.domain.image import Image
from rebuilder.inventory import checkout, containerfiles
from rebuilder.inventory.buildah_cli import Storage


@dataclass(frozen=True, slots=True)
class BuildCommands:
    """Makes the commands of builds in a storage; `published` says under which names the images are pushed."""

    settings: BuildahSettings
    storage: Storage
    pinning: Pinning
    published: RegistrySettings

    def of(self, order: BuildRequest, folder: Path, isolation: str) -> list[str]:
        """The command that makes the build, and leaves the image's id in the folder.

        Raises InfrastructureError, and StorageError.
        """
        image, file = order.image, build_file(order.image)
        external = any(parent.external for parent in image.parents)
        pins = self.pinning.pins(order, file)
        return self.storage.command(
            "bud",
            f"--isolation={isolation}",
            "--pull=false" if external else "--pull=never",
            "--layers=false",
            *(f"--build-context={name}={pin.place}" for pin in pins for name in pin.names),
            *(f"--build-arg={name}={value}" for name, value in self.pinning.arguments(image).items()),
            *(f"--platform={platform}" for platform in image.source.platforms),
            *([f"--target={image.source.target}"] if image.source.target else ()),
            *(f"--volume={volume}" for volume in self.settings.volumes),
            *(f"--label={name}={value}" for name, value in _labels(order, pins).items()),
            *self._annotations(order),
            f"--iidfile={folder / 'iid'}",
            f"--tag={own_name(image.key, order.key)}",
            f"--file={file}",
            "--",
            image.source.path,
        )

    def _annotations(self, order: BuildRequest) -> list[str]:
        """The options for the annotations; one without a value takes away what the base has of that name."""
        origin = checkout.origin_of(order.image.source)
        written = annotations_of(order, origin, self._base(order), time.time())
        inherits = bool(order.image.parents)
        return [f"--annotation={name}{f'={value}' if value else ''}"
                for name, value in written.items() if value or inherits]  # fmt: skip

    def _base(self, order: BuildRequest) -> BaseName | None:
        base = order.base
        if base is None:
            return external_base(order)
        return BaseName(self.published.floating_name(base.image) or containerfiles.tag(base.image), base.digest)


def _labels(order: BuildRequest, pins: Sequence[Pin]) -> dict[str, str]:
    """What the image itself says of how it was made."""
    external = {parent.spec: parent.at for pin in pins for parent in pin.external}
    return {
        "rebuilder.key": order.key,
        "rebuilder.parents": json.dumps([parent.ident for parent in order.parents]),
        "rebuilder.externals": json.dumps(external),
        "rebuilder.causes": json.dumps([str(change.build) for change in order.causes]),
    }


def build_file(image: Image) -> Path:
    """The build file: the one that the source names, else the usual one.

    Raises InfrastructureError where there is no folder.
    """
    source = image.source
    if not source.path:
        raise InfrastructureError(f"{image.key} has no folder to build from: buildah needs a source with a path")
    names = (source.containerfile,) if source.containerfile else containerfiles.NAMES
    files = [Path(source.path) / name for name in names]
    return next((file for file in files if file.is_file()), files[0])
