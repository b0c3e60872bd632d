"""A hub of Koji that the test holds in its hand, and builders that ask it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import koji_hub
from support.harnesses.koji import BASE, KojiHarness
from support.koji_builds import Koji
from support.koji_tasks import Task

from rebuilder.builders.koji import KojiBuilder
from rebuilder.domain.build import BuildRequest, Status
from rebuilder.domain.change import Change, Severity
from rebuilder.domain.image import Image, ImageBuild, Parent, ParentKind, Source
from rebuilder.domain.rpm import SourceBuild


class World:
    def __init__(self, running: koji_hub.Hub, folder: Path) -> None:
        self.hub = running
        self.koji = running.koji
        self.harness = KojiHarness(running, folder)
        self.settings = self.harness.settings

    def builder(self, **changes: Any) -> KojiBuilder:
        koji = self.settings.koji.model_copy(update=changes)
        return KojiBuilder(self.settings.model_copy(update={"koji": koji}))

    def task(self, ref: str) -> Task:
        return self.koji.tasks[int(ref)]

    def begun(self, builder: KojiBuilder, key: str = "app") -> Task:
        return self.task(builder.submit(self.harness.order(key)).ref)

    def status(self, builder: KojiBuilder, task: Task) -> Status:
        return builder.poll([str(task.id)])[str(task.id)]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with koji_hub.Hub(Koji()) as running:
        yield World(running, tmp_path)


CHANGE = Change(SourceBuild.parse("openssl-1:3.2.2-1.fc42"), "f42")


def order(*parents: Parent, severity: Severity = Severity.LOW, builds: tuple[ImageBuild, ...] = ()) -> BuildRequest:
    source = Source(git="https://src.example.com/app", ref="f42", commit="abc")
    return BuildRequest("app-f42-1", Image("app", "f42", parents, source), builds, (CHANGE,), None, severity)


ON_BASE = Parent(ParentKind.BASE, "base:f42")
BASE_BUILD = ImageBuild("base:f42", BASE)
