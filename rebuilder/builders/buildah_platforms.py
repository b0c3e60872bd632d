"""Whether buildah can build on this machine for the platforms that images ask for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from rebuilder.builders.buildah_command import build_file
from rebuilder.builders.emulation import NEEDS, can_run, first_run
from rebuilder.domain.errors import InfrastructureError
from rebuilder.domain.image import Image
from rebuilder.domain.wording import few
from rebuilder.plugins import Finding


def platforms(images: Iterable[Image], build_args: Mapping[str, str]) -> Iterator[Finding]:
    """A finding for each platform that these images are built for, with these build arguments beside their own."""
    by_platform: dict[str, list[Image]] = {}
    for image in images:
        for platform in image.source.platforms:
            by_platform.setdefault(platform, []).append(image)
    for platform, asking in sorted(by_platform.items()):
        about = f"platform {platform} of {few(sorted(image.key for image in asking))}"
        yield Finding(about, _fault(platform, asking, build_args))


def _fault(platform: str, images: Iterable[Image], build_args: Mapping[str, str]) -> str:
    if can_run(platform):
        return ""
    stuck = [image.key for image in images if _runs(image, platform, build_args)]
    if not stuck:
        return ""
    return f"{NEEDS.format(platform=platform)}; until then RUN keeps these from being built: {few(sorted(stuck))}"


def _runs(image: Image, platform: str, build_args: Mapping[str, str]) -> bool:
    try:
        file = build_file(image)
    except InfrastructureError:
        return False  # it has no folder, which is said when it is built
    return bool(first_run(image, file, {**build_args, **dict(image.source.build_args)}, platform))
