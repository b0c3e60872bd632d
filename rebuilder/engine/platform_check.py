"""Whether this machine can build for the platforms that images ask for: `config check`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rebuilder.builders.buildah_command import build_file
from rebuilder.builders.emulation import NEEDS, can_run, first_run
from rebuilder.config import Settings
from rebuilder.domain.errors import InfrastructureError, RequestError
from rebuilder.domain.image import Image
from rebuilder.domain.wording import few
from rebuilder.inventory import containerfiles, loader
from rebuilder.plugins import Finding


def platforms(settings: Settings) -> Iterator[Finding]:
    """The platforms that buildah is to build for; nothing where the images cannot be read, as others say that."""
    if settings.builder != "buildah" or settings.dry_run:
        return
    by_platform: dict[str, list[Image]] = {}
    for image in _images(settings):
        for platform in image.source.platforms:
            by_platform.setdefault(platform, []).append(image)
    for platform, images in sorted(by_platform.items()):
        about = f"platform {platform} of {few(sorted(image.key for image in images))}"
        yield Finding(about, _fault(platform, images, settings))


def _images(settings: Settings) -> Iterable[Image]:
    inventory, path = settings.inventory, settings.inventory.path
    if path is None or inventory.source not in ("file", "containerfiles"):
        return ()
    try:
        if inventory.source == "file":
            return loader.read(path).inventory.images
        naming = containerfiles.Naming(inventory.stream, {}, settings.inventory.registry, tuple(settings.streams))
        return containerfiles.scan(path, naming, settings.buildah.build_args).images
    except RequestError:
        return ()


def _fault(platform: str, images: Iterable[Image], settings: Settings) -> str:
    if can_run(platform):
        return ""
    stuck = [image.key for image in images if _runs(image, platform, settings)]
    if not stuck:
        return ""
    return f"{NEEDS.format(platform=platform)}; until then RUN keeps these from being built: {few(sorted(stuck))}"


def _runs(image: Image, platform: str, settings: Settings) -> bool:
    try:
        file = build_file(image)
    except InfrastructureError:
        return False  # it has no folder, which is said when it is built
    arguments = {**settings.buildah.build_args, **dict(image.source.build_args)}
    return bool(first_run(image, file, arguments, platform))
