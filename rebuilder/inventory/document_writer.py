"""An inventory as a document that can be read again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from rebuilder.domain.image import Image, ImageBuild, Inventory, Source


def written(inventory: Inventory, manifest_of: Callable[[str], ImageBuild | None]) -> dict[str, Any]:
    """The inventory as a document that can be read again; manifests are asked for one image at a time."""
    return {
        "version": 1,
        "streams": {stream.name: {"dist": _dist_written(stream.dist)} for stream in inventory.streams},
        "images": [_written(image, manifest_of(image.key)) for image in inventory.images],
    }


def _written(image: Image, build: ImageBuild | None) -> dict[str, Any]:
    written: dict[str, Any] = {
        "name": image.name,
        "stream": image.stream,
        "parents": [
            {"image" if parent.image else "external": str(parent), "kind": str(parent.kind)}
            for parent in image.parents
        ],
        "source": source_written(image.source),
    }
    if image.estimate:
        written["duration"] = image.estimate
    if image.pull_spec:
        written["pull_spec"] = image.pull_spec
    if build is not None:
        written["build"] = build.ident
        if build.manifest is not None:
            rpms = sorted(build.manifest.rpms, key=lambda rpm: rpm.nevra)
            written["rpms"] = [{"nevra": rpm.nevra, "source": rpm.sourcerpm} for rpm in rpms]
    return written


def _dist_written(dist: tuple[str, ...]) -> str | list[str]:
    return list(dist) if len(dist) > 1 else "".join(dist)


def source_written(source: Source) -> dict[str, Any]:
    """What is said of the source, without what is not said."""
    care = {key: value for key, value in msgspec.structs.asdict(source.care).items() if value}
    fields = {**msgspec.structs.asdict(source), "build_args": dict(source.build_args), "care": care}
    return {key: value for key, value in fields.items() if value}
