"""Real builds with buildah that look into a mounted folder for how to go on."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from rebuilder.builders.buildah import BuildahBuilder
from rebuilder.domain.build import BuildRequest
from rebuilder.domain.image import ImageBuild
from support import servers
from support.buildah_world import Machine, machine, until
from support.harnesses.protocol import Harness, Power

# What is to be said is taken away before it is said: once it is in the log, the next may be there.
TOLD = """FROM base
RUN echo begun; while [ ! -e /told/{key}.exit ]; do mv /told/{key}.say /told/{key}.said 2>/dev/null && \
cat /told/{key}.said; sleep 0.05; done; exit $(cat /told/{key}.exit)
"""


class BuildahHarness(Harness):
    name = "buildah"
    powers = frozenset({Power.SURVIVES, Power.PINS, Power.LOGS, Power.MANIFEST})

    def __init__(self, world: Machine) -> None:
        self._world = world
        self._told = world.folder / "told"
        self._told.mkdir()
        world.settings = world.settings.model_copy(
            update={"volumes": (*world.settings.volumes, f"{self._told}:/told")}
        )
        self.restart()

    @classmethod
    @contextmanager
    def world(cls, folder: Path) -> Iterator[Harness]:
        servers.need("buildah", "buildah", "busybox")
        servers.need("rpm", "rpm", "rpmbuild", "createrepo_c")
        with machine(folder) as made:
            yield cls(made)

    def restart(self) -> None:
        self.builder = BuildahBuilder(self._world.settings)

    @cached_property
    def parent(self) -> ImageBuild:
        return self._world.build("base", "base-1")

    def order(self, key: str) -> BuildRequest:
        self._world.write(key, TOLD.format(key=key))
        return BuildRequest(key, self._world.image(key), (self.parent,))

    def _state(self, key: str) -> Path:
        return self._world.folder / "builds" / key

    def _log(self, key: str) -> str:
        return "".join(self.builder.log(key))

    def _begun(self, key: str) -> None:
        until(lambda: "\nbegun\n" in self._log(key))

    def made(self, key: str) -> int:
        if not self._state(key).exists():
            return 0
        self._begun(key)
        return self._log(key).count("STEP 1/")

    def say(self, ref: str, line: str) -> None:
        self._begun(ref)
        self._tell(ref, "say", f"{line}\n")

    def _tell(self, ref: str, what: str, text: str) -> None:
        new = self._told / f"{ref}.new"
        new.write_text(text)
        new.replace(self._told / f"{ref}.{what}")

    def succeed(self, ref: str) -> None:
        self._tell(ref, "exit", "0")

    def fail(self, ref: str) -> None:
        self._tell(ref, "exit", "3")

    def vanish(self, ref: str) -> None:
        self._begun(ref)
        os.killpg(int((self._state(ref) / "started").read_text()), signal.SIGKILL)
