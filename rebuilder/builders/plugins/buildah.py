"""Builds on this machine, by buildah."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from rebuilder.builders import buildah_platforms, leftovers
from rebuilder.builders.buildah import BuildahBuilder
from rebuilder.builders.leftovers import InUse
from rebuilder.builders.plugin import BuilderPlugin, BuildHistory
from rebuilder.builders.protocol import Builder
from rebuilder.config import Settings
from rebuilder.domain.image import Image
from rebuilder.plugins import Finding

SYSTEM_BUILDS = "/var/lib/rebuilder-buildah/builds"  # of systemd/rebuilder.tmpfiles


class Plugin(BuilderPlugin):
    """`builder = "buildah"`."""

    commands = ("buildah",)
    runs_tests = True

    def make(self, settings: Settings, history: BuildHistory) -> Builder:
        return BuildahBuilder(settings.buildah, settings.inventory.registry, settings.registry)

    def sample(self, answers: Mapping[str, str], *, system: bool) -> str:
        state = f'state = "{SYSTEM_BUILDS}"\n' if system else ""
        isolation = "chroot" if os.geteuid() == 0 else "rootless"
        return f"""\
[consumer_config.buildah]
{state}isolation = "{isolation}"    # "chroot" is what the systemd units allow; "oci" separates builds more
# volumes = ["/srv/mirror:/srv/mirror:ro"]
# build_args = {{FEDORA = "42"}}
"""

    def folders(self, settings: Settings) -> Mapping[str, Path]:
        storage = {"root": settings.buildah.root, "runroot": settings.buildah.runroot}
        named = {f"consumer_config.buildah.{key}": path for key, path in storage.items() if path is not None}
        return {"folder of builds": settings.buildah.folder, **named}

    def platforms(self, settings: Settings, images: Iterable[Image]) -> Iterator[Finding]:
        return buildah_platforms.platforms(images, settings.buildah.build_args)

    def clear(self, settings: Settings, before: float, in_use: InUse, *, rehearsing: bool) -> dict[str, int]:
        return {"build folders": leftovers.folders(settings.buildah, before, in_use, rehearsing),
                "images": leftovers.images(settings.buildah, before, in_use, rehearsing)}  # fmt: skip
