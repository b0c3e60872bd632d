"""An engine whose images and builds are those of a hub of Koji that the test holds in its hand."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.workbench import AtOnce, Clock, LoopClock
from sqlalchemy import Engine, select
from support import koji_hub
from support.koji_builds import Koji
from support.koji_tasks import Task

from consumers.topics import parse
from rebuilder.config import Settings
from rebuilder.domain.message import IncomingMessage
from rebuilder.engine import factory
from rebuilder.engine.loop import Loop, Runtime
from rebuilder.store import inbox, inventory
from rebuilder.store.database import reading
from rebuilder.store.models import Rebuild

SSL = "openssl-libs-1:3.2.1-1.fc42.x86_64 openssl-3.2.1-1.fc42"
OLD = "openssl-libs-1:3.2.1-1.fc42.x86_64"
FIX = "openssl-3.2.2-1.fc42"
IMAGES = "f42-images"
UPDATES = "f42-updates"
STREAM = {"dist": ".fc42", "koji_tags": [IMAGES, UPDATES], "koji_target": "f42-container"}


@pytest.fixture
def running() -> Iterator[koji_hub.Hub]:
    with koji_hub.Hub(Koji()) as made:
        made.koji.tags |= {IMAGES: [], UPDATES: []}
        yield made


class Site:
    """An engine whose images and builds are Koji's, with a clock that the test moves."""

    def __init__(self, store: Engine, running: koji_hub.Hub, folder: Path, **settings: Any) -> None:
        self.store, self.koji, self.clock = store, running.koji, Clock()
        self.clock.now = time.time()
        self.settings = Settings.model_validate({
            "builder": "koji", "settle_seconds": 0, "inventory": {"source": "koji"}, "streams": {"f42": STREAM},
            "reconcile": {"every_seconds": 100_000, "foreign_builds": "plan"},
            "koji": {"hub": running.url, "login": "password", "user": "rebuilder", "poll_seconds": 1000,
                     "password_file": str(koji_hub.password_file(folder)), "timeout_seconds": 5},
            **settings,
        })  # fmt: skip
        builder, asked = factory.builder_for(store, self.settings), factory.koji_session_for(self.settings)
        self.loop = Loop(
            store, self.settings, builder, parse, hub=asked, runtime=Runtime(LoopClock(self.clock), AtOnce())
        )
        self.passes()

    def passes(self, seconds: float = 0) -> None:
        self.clock.now += seconds
        while self.loop.once():
            pass

    def tagged(self, nvr: str) -> None:
        name, version, release = nvr.rsplit("-", 2)
        body = {"name": name, "version": version, "release": release, "tag": UPDATES}
        self.receive("buildsys.tag", body)
        self.receive("buildsys.repo.done", {"tag": UPDATES})

    def finished(self, task: int | None, name: str = "base") -> None:
        body = {"name": name, "version": "42", "release": "2", "epoch": None, "old": 0, "new": 1, "build_id": 1,
                "attribute": "state", "task_id": task, "task": {"method": "buildContainer"}}
        self.receive("buildsys.build.state.change", body)

    def receive(self, topic: str, body: Any) -> None:
        inbox.receive(self.store, [IncomingMessage(f"{topic} {time.monotonic_ns()}", f"org.x.{topic}", {}, body)])

    def states(self) -> list[str]:
        with reading(self.store) as connection:
            return list(connection.scalars(select(Rebuild.state).order_by(Rebuild.id)))

    def current(self, key: str) -> str:
        with reading(self.store) as connection:
            return inventory.current_builds(connection)[key].ident

    def live(self) -> Task:
        (task,) = self.koji.live()
        return task
