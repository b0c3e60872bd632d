"""Tasks in the stand-in for a Koji hub, asked for by Koji's own client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rebuilder.builders.koji import KojiBuilder
from rebuilder.config import Settings
from rebuilder.domain.build import BuildRequest
from rebuilder.domain.image import Image, ImageBuild, Parent, ParentKind, Source
from support import koji_hub
from support.harnesses.protocol import Harness, Power
from support.koji_builds import Koji
from support.koji_tasks import Task

SSL = "openssl-libs-1:3.2.1-1.fc42.x86_64 openssl-3.2.1-1.fc42"
BASE = "base-42-1"


class KojiHarness(Harness):
    name = "koji"
    powers = frozenset(Power)
    unknown = "999999"

    def __init__(self, running: koji_hub.Hub, folder: Path) -> None:
        self._hub = running
        self._koji = running.koji
        self.settings = Settings.model_validate({
            "builder": "koji",
            "streams": {"f42": {"dist": ".fc42", "koji_tags": ["f42-images"], "koji_target": "f42-container"}},
            "koji": {
                "hub": running.url, "web": "https://koji.example.com/koji", "login": "password", "user": "rebuilder",
                "password_file": str(koji_hub.password_file(folder)), "timeout_seconds": 5,
            },
        })  # fmt: skip
        self._koji.image(BASE, "f42-images", [SSL])
        self.restart()

    @classmethod
    @contextmanager
    def world(cls, folder: Path) -> Iterator[Harness]:
        with koji_hub.Hub(Koji()) as running:
            yield cls(running, folder)

    def restart(self) -> None:
        self.builder = KojiBuilder(self.settings)

    def order(self, key: str) -> BuildRequest:
        self._koji.image(f"{key}-1-1", "f42-images", [SSL], {"registry/f42/base": BASE}, BASE)
        source = Source(git=f"https://src.example.com/{key}", ref="f42", commit="c0")
        return BuildRequest(key, Image(key, "f42", (Parent(ParentKind.BASE, "base:f42"),), source), (self.parent,))

    @property
    def parent(self) -> ImageBuild:
        return ImageBuild("base:f42", BASE)

    def made(self, key: str) -> int:
        return sum(task.key == key for task in self._koji.submitted())

    def _task(self, ref: str) -> Task:
        return self._koji.tasks[int(ref)]

    def say(self, ref: str, line: str) -> None:
        task = self._task(ref)
        task.open()
        task.log += f"{line}\n"

    def succeed(self, ref: str) -> None:
        self._koji.close(self._task(ref))

    def fail(self, ref: str) -> None:
        self._koji.fail(self._task(ref))

    def vanish(self, ref: str) -> None:
        del self._koji.tasks[int(ref)]

    def stop_by_others(self, ref: str) -> None:
        koji_hub.cancel(self._koji, self._task(ref).key)

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        with self._hub.away():
            yield

    @contextmanager
    def lost_reply(self) -> Iterator[None]:
        self._hub.losing = "buildContainer"
        yield
