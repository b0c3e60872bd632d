"""The command that builds an image with buildah, and what it writes on the image."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from rebuilder.builders.emulation import check_emulation, normal
from rebuilder.builders.local_images import own_name
from rebuilder.builders.pins import Pin, Pinning
from rebuilder.config import BuildahSettings, RegistrySettings, own_folder
from rebuilder.domain.annotations import BaseName, annotations_of, external_base
from rebuilder.domain.build import BuildRejected, BuildRequest
from rebuilder.domain.errors import InfrastructureError
from rebuilder.domain.image import Image
from rebuilder.inventory import checkout, containerfiles, tree_naming, tree_walk
from rebuilder.inventory.buildah_cli import Storage

IID = "iid"  # the file in the folder of a build that has the image's id

class BuildCommands(Struct, frozen=True):
    """Makes the commands of builds in a storage; `published` says under which names the images are pushed."""

    settings: BuildahSettings
    storage: Storage
    pinning: Pinning
    published: RegistrySettings

    def of(self, order: BuildRequest, folder: Path, isolation: str) -> list[str]:
        """The command that makes the build, and leaves the image's id in the folder.

        For several platforms there is an image for each, and a list of them, whose id is the build's. Raises
        BuildRejected, InfrastructureError, and StorageError.
        """
        image, platforms = order.image, order.image.source.platforms
        file, said = build_file(image), self._annotations(order)
        self._check_parents(order, file)
        check_emulation(image, file, self.pinning.arguments(image))
        if len(platforms) < 2:
            platform = next(iter(platforms), "")
            out = f"--iidfile={folder / IID}", f"--tag={own_name(image.key, order.key)}"
            return self._bud(order, file, platform, (f"--isolation={isolation}", *said, *out))
        return self._for_each(order, folder, file, (f"--isolation={isolation}", *said))

    def _for_each(self, order: BuildRequest, folder: Path, file: Path, options: Sequence[str]) -> list[str]:
        """One build after the other, and the list of what they made."""
        image, platforms, lines = order.image, order.image.source.platforms, []
        for number, platform in enumerate(platforms):
            out = f"--iidfile={folder / IID}-{number}", f"--tag={own_name(image.key, order.key, platform)}"
            command = self._bud(order, file, platform, (*options, *out))
            lines += [f"echo {shlex.quote(f'for {platform}:')}", shlex.join(command)]
        made = shlex.join(self.storage.make_list(own_name(image.key, order.key), ()))
        parts = " ".join(f'"$(cat {shlex.quote(str(folder / IID))}-{number})"' for number in range(len(platforms)))
        script = "\n".join(["set -e", *lines, f"{made} {parts} > {shlex.quote(str(folder / IID))}", ""])
        return ["/bin/sh", "-c", ". \"$1\"", "build", str(_written(folder, script))]

    def _check_parents(self, order: BuildRequest, file: Path) -> None:
        """Raises BuildRejected for a parent without one of the platforms: buildah would take the one that it has.

        Where the file itself says for which platform a stage is, only the base has to be there for all of them.
        """
        if not order.image.source.platforms:
            return
        text = tree_walk.text_of(file, Path(order.image.source.path)) if file.is_file() else ""
        for parent in order.parents if "--platform" not in text else filter(None, (order.base,)):
            there = {normal(platform) for platform in self.storage.inspect(parent.ident).platforms}
            missing = [p for p in order.image.source.platforms if normal(p) not in there]
            if missing:
                raise BuildRejected(
                    f"{parent.image} is not built for {', '.join(missing)}: add it to its platforms, and rebuild it"
                )

    def _bud(self, order: BuildRequest, file: Path, platform: str, options: Sequence[str]) -> list[str]:
        """The build for one platform, or for this machine's where none is named."""
        image = order.image
        pins = self.pinning.pins(order, file, platform)
        return self.storage.command(
            "bud",
            *options,
            "--pull=false" if image.externals else "--pull=never",
            "--layers=false",
            *(f"--build-context={name}={pin.place}" for pin in pins for name in pin.names),
            *(f"--build-arg={name}={value}" for name, value in self.pinning.arguments(image).items()),
            *([f"--platform={platform}"] if platform else ()),
            *([f"--target={image.source.target}"] if image.source.target else ()),
            *(f"--volume={volume}" for volume in self.settings.volumes),
            *(f"--label={name}={value}" for name, value in _labels(order, pins).items()),
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
        return BaseName(self.published.floating_name(base.image) or tree_naming.tag(base.image), base.digest)


def _written(folder: Path, script: str) -> Path:
    """The script in the folder: a command line would be too short for the builds of many platforms."""
    own_folder(folder)
    file = folder / "build.sh"
    file.touch(mode=0o600)
    file.write_text(script)
    return file


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
