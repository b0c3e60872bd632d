"""Images in Koji's tags, and the inventory as it is read from there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support import koji_hub
from support.koji_builds import Koji

from rebuilder.config import Settings
from rebuilder.domain.image import Image, ImageBuild, Inventory
from rebuilder.inventory.koji import images
from rebuilder.inventory.koji.images import Known
from rebuilder.inventory.koji.session import KojiSession

SSL = "openssl-libs-1:3.2.1-1.fc42.x86_64 openssl-3.2.1-1.fc42"
BASH = "bash-5.2-1.fc42.x86_64 bash-5.2-1.fc42"
TAG = "f42-images"


@pytest.fixture
def running() -> Iterator[koji_hub.Hub]:
    """A hub with three levels: base, httpd on it, and web on httpd with a stage of base."""
    with koji_hub.Hub(Koji()) as made:
        koji = made.koji
        koji.image("base-42-1", TAG, [SSL, BASH], {"registry.example.com/fedora:42": None})
        koji.image("httpd-2.4-7", TAG, [SSL, BASH], {"reg/f42/base:latest": "base-42-1"}, "base-42-1", commit="h1")
        above = {"reg/f42/base:latest": "base-42-1", "reg/f42/httpd": "httpd-2.4-7"}
        koji.image("web-1-3", TAG, [SSL], above, "httpd-2.4-7")
        yield made


def settings(url: str, **changes: Any) -> Settings:
    streams = {"f42": {"dist": ".fc42", "koji_tags": [TAG], "koji_target": "f42-container"}}
    return Settings.model_validate(
        {"streams": streams, "inventory": {"source": "koji"}, "koji": {"hub": url, "timeout_seconds": 5}, **changes}
    )


def read(running: koji_hub.Hub, known: Known | None = None, **changes: Any) -> Inventory:
    chosen = settings(running.url, **changes)
    return images.read(KojiSession(chosen.koji), chosen, known or Known())


def image(found: Inventory, key: str) -> Image:
    return next(image for image in found.images if image.key == key)


def build(found: Inventory, key: str) -> ImageBuild:
    return next(build for build in found.builds if build.image == key)


def parents(found: Inventory, key: str) -> list[tuple[str, str]]:
    return [(str(parent), str(parent.kind)) for parent in image(found, key).parents]


def known(found: Inventory) -> Known:
    """What the store has after this was read."""
    return Known({image.key: image for image in found.images}, {build.image: build.ident for build in found.builds})
