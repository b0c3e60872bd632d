"""What an image says of itself: its layers, its labels, and when it was made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct

from rebuilder.registry.errors import ContentsError

SOURCE, REVISION = "org.opencontainers.image.source", "org.opencontainers.image.revision"
BASE_NAME, BASE_DIGEST = "org.opencontainers.image.base.name", "org.opencontainers.image.base.digest"


class Description(Struct, frozen=True):
    """One image for one platform. `layers` are the digests of their plain contents, the lowest first.

    They are the same however a registry compresses them. `steps` counts its history: two images of just the same layers
    differ in it. `labels` are those of its configuration, and before them the annotations of its manifest, which no
    child inherits. `created` is in seconds since the epoch, None where it is unknown.
    """

    layers: tuple[str, ...]
    steps: int
    labels: dict[str, str]
    created: float | None


def parse(raw: bytes, annotations: Mapping[str, str], of: str) -> Description:
    """The description in an image's configuration. Raises ContentsError for what is none."""
    try:
        document = json.loads(raw)
        layers = tuple(str(layer) for layer in document["rootfs"]["diff_ids"])
        labels = {str(name): str(value) for name, value in ((document.get("config") or {}).get("Labels") or {}).items()}
        steps, written = len(document.get("history") or ()), str(document.get("created") or "")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ContentsError(f"the configuration of {of} cannot be read: {error}") from None
    said = {name: value for name, value in annotations.items() if value}  # builders write "" for what they do not know
    return Description(layers, steps, {**labels, **said}, _moment(written))


def _moment(written: str) -> float | None:
    """A moment as OCI writes it; images that are made to be the same each time say 1970."""
    try:
        return datetime.fromisoformat(written).timestamp() or None
    except ValueError:
        return None
