"""What an image says of itself to whoever finds it in a registry: OCI's annotations, and ours.

Annotations are on the manifest, so they can be read without the image, and no child should have those of its parent.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

from msgspec import Struct

from rebuilder.domain.build import BuildRequest
from rebuilder.domain.external import pinned, repository, tag
from rebuilder.domain.image import Image, ParentKind

OCI = "org.opencontainers.image."
OURS = "rebuilder."


class Origin(Struct, frozen=True):
    """Where the files of a build are from: the URL of their repository, and the commit or digest that tells them."""

    source: str = ""
    revision: str = ""


class BaseName(Struct, frozen=True):
    """The pull spec of what an image is built on, and its digest in the registry; "" where it has none yet."""

    name: str
    digest: str = ""


def annotations_of(request: BuildRequest, origin: Origin, base: BaseName | None, created: float) -> dict[str, str]:
    """The annotations of one build, made at `created` (seconds since the epoch).

    "" stands for what is unknown, and takes away what the base says of itself. Where nothing is known of the base
    (None), its annotations are left to the builder.
    """
    made = datetime.fromtimestamp(created, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    annotations = {f"{OCI}source": origin.source, f"{OCI}revision": origin.revision, f"{OCI}created": made,
             f"{OCI}version": request.image.stream}  # fmt: skip
    if base is not None:
        annotations |= {f"{OCI}base.name": base.name, f"{OCI}base.digest": base.digest}
    causes = json.dumps([str(change.build) for change in request.causes])
    ours = {f"{OURS}key": request.key, f"{OURS}wave": str(request.wave or ""), f"{OURS}causes": causes}
    return {**annotations, **ours}


def external_base(request: BuildRequest) -> BaseName | None:
    """The external image that it is built on, where a digest of it is pinned."""
    base = external_base_of(request.image)
    at = next((parent.at for parent in request.externals if parent.spec == base), "") if base else ""
    return BaseName(f"{repository(at)}:{tag(base)}", pinned(at)) if at else None


def external_base_of(image: Image) -> str:
    """The pull spec of its base, as its source has it; "" where that is an image of the inventory, or none."""
    return next((parent.external for parent in image.parents if parent.kind is ParentKind.BASE), "")
