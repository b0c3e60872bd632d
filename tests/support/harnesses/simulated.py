"""The simulated builder: the test holds its clock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rebuilder.builders.simulated import SimulatedBuilder
from rebuilder.config import SimulatedSettings
from rebuilder.domain.build import BuildRequest, Phase
from rebuilder.domain.image import Image, ImageBuild, Manifest, Parent, ParentKind
from rebuilder.domain.rpm import Rpm
from support.harnesses.protocol import Harness, Power


class SimulatedHarness(Harness):
    name = "simulated"
    powers = frozenset({Power.PINS, Power.MANIFEST})

    def __init__(self) -> None:
        self._now = 0.0
        self.restart()

    @classmethod
    @contextmanager
    def world(cls, folder: Path) -> Iterator[Harness]:
        yield cls()

    def restart(self) -> None:
        self.builder = self._builder = SimulatedBuilder(
            SimulatedSettings(), self._manifest_of, lambda: self._now, monotonic=lambda: self._now
        )

    def _manifest_of(self, image: str) -> Manifest:
        return Manifest.of([Rpm.parse("openssl-libs-1:3.2.1-1.fc42.x86_64", "openssl")])

    def order(self, key: str) -> BuildRequest:
        image = Image(key, "f42", (Parent(ParentKind.BASE, "base:f42"),), estimate=1e9)
        return BuildRequest(key, image, (self.parent,))

    @property
    def parent(self) -> ImageBuild:
        return ImageBuild("base:f42", "base-1")

    def made(self, key: str) -> int:
        return int(key in self._builder.builds)

    def say(self, ref: str, line: str) -> None:
        raise NotImplementedError

    def _end(self, ref: str, outcome: Phase) -> None:
        build = self._builder.builds[ref]
        build.outcome, build.ends = outcome, self._now

    def succeed(self, ref: str) -> None:
        self._end(ref, Phase.SUCCEEDED)

    def fail(self, ref: str) -> None:
        self._end(ref, Phase.FAILED)

    def vanish(self, ref: str) -> None:
        del self._builder.builds[ref]
