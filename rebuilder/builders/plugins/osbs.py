"""Builds by OSBS, on Tekton."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from rebuilder.builders import leftovers
from rebuilder.builders.leftovers import InUse
from rebuilder.builders.osbs import OsbsBuilder
from rebuilder.builders.plugin import BuilderPlugin, BuildHistory
from rebuilder.builders.protocol import Builder
from rebuilder.config import Settings
from rebuilder.plugins import Finding


class Plugin(BuilderPlugin):
    """`builder = "osbs"`."""

    needs_target = True
    asks: ClassVar = {"osbs_conf": ("osbs-client's configuration?", "/etc/osbs.conf")}

    def make(self, settings: Settings, history: BuildHistory) -> Builder:
        return OsbsBuilder(settings)

    def check(self, settings: Settings) -> None:
        OsbsBuilder(settings).close()

    def questions(self, settings: Settings) -> Iterator[Finding]:
        builder = OsbsBuilder(settings)
        try:
            for about, fault in builder.site():
                yield Finding(about, fault)
        finally:
            builder.close()

    def warnings(self, settings: Settings) -> Iterator[Finding]:
        """The streams whose images OSBS would build and tag nowhere."""
        for name, stream in settings.streams.items():
            if not stream.koji_target:
                yield Finding(f"stream {name}", "koji_target is not set: OSBS imports what it builds into no tag")

    def sample(self, answers: Mapping[str, str], *, system: bool) -> str:
        file = json.dumps(answers["osbs_conf"], ensure_ascii=False)
        return f"""\
[consumer_config.osbs]
file = {file}             # osbs-client's own configuration, and the section of it that is ours
section = "default_binary"
# platforms = ["x86_64", "aarch64"]
"""

    def folders(self, settings: Settings) -> Mapping[str, Path]:
        return {"folder of logs": settings.osbs.log_folder}

    def clear(self, settings: Settings, before: float, in_use: InUse, *, rehearsing: bool) -> dict[str, int]:
        return {"build logs": leftovers.logs(settings.osbs, before, in_use, rehearsing)}
