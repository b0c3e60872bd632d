"""How fast builds are pushed, beside plain `skopeo copy` of the same images under the same names in the same run."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from integration.workbench import Clock
from support import registries, servers
from support.pushing import Images, Pushing
from test_engine import UPDATE

from consumers.topics import parse
from rebuilder.config import Settings
from rebuilder.domain.image import Image, ImageBuild, Inventory, Manifest, Stream
from rebuilder.domain.message import IncomingMessage
from rebuilder.domain.rpm import Rpm
from rebuilder.engine.loop import Loop
from rebuilder.registry import skopeo
from rebuilder.store import database, inbox
from rebuilder.store.sync import save_inventory

COUNT, AT_ONCE = 200, 4
LEAST = 0.8  # of the rate of skopeo
OPENSSL = Manifest.of([Rpm.parse("openssl-libs-1:3.2.1-1.fc42.x86_64", "openssl")])
TAGS = ("f42-1", "f42")


class WallClock(Clock):
    """Shows the time of day."""

    def __call__(self) -> float:
        self.now = time.time()
        return self.now


class Prepared(Images):
    """Has as many images as are to be pushed, each with a layer of its own, and gives them to the builds."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            self.idents = list(pool.map(super().make, (f"build-{number}" for number in range(COUNT))))
        self._left = list(self.idents)

    def make(self, key: str) -> str:
        return self._left.pop()


def ours(folder: Path, images: Prepared, host: str) -> float:
    """The seconds for a whole wave of images, from the update to the last push."""
    settings = Settings(
        settle_seconds=0, poll_seconds=0.05, max_builds=COUNT,
        registry={"push": f"{host}/team/{{name}}", "at_once": AT_ONCE}, simulated={"speed": 1e6},
    )  # fmt: skip
    engine = database.ready(f"sqlite:///{folder}/bench.db")
    wanted = tuple(Image(f"app-{number}", "f42", estimate=1) for number in range(COUNT))
    builds = tuple(ImageBuild(image.key, "first", OPENSSL) for image in wanted)
    with engine.begin() as connection:
        save_inventory(connection, Inventory(wanted, (Stream("f42", (".fc42",)),), builds), time.time())
    inbox.receive(engine, [IncomingMessage("1", "org.x.bodhi.update.complete.stable", {}, UPDATE)])
    builder = Pushing(settings.simulated, lambda _: OPENSSL, WallClock()).began(images)
    loop = Loop(engine, settings, builder, parse)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        assert all(pool.map(builder.keeps, images.idents))  # what its results have read of real builds
    began = time.monotonic()
    loop.run(threading.Event(), until_idle=True)
    took = time.monotonic() - began
    loop.close()
    engine.dispose()
    assert len(builder.uploaded) == COUNT
    return took


def theirs(images: Prepared, host: str, part: slice) -> float:
    """The seconds in which skopeo copies a part of them from the same storage."""
    at = images.settings
    storage = f"containers-storage:[{at.storage_driver}@{at.root}+{at.runroot}]"

    def copy(image: tuple[int, str]) -> None:
        for tag in TAGS:
            place = f"docker://{host}/team/app-{image[0]}:{tag}"
            command = [*skopeo.command(host), "copy", "-q", f"{storage}{image[1]}", place]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr

    began = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(copy, list(enumerate(images.idents))[part]))
    return time.monotonic() - began


def whole(registry: registries.Registry) -> Sequence[int]:
    with registry.client() as client:
        return [len(client.get(f"team/app-{number}/tags/list").json()["tags"]) for number in range(COUNT)]


def test_pushes_are_as_fast_as_copies_by_skopeo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    servers.need("buildah", "buildah")
    images = Prepared(tmp_path / "images")
    with registries.registry(tmp_path / "ours") as mine, registries.registry(tmp_path / "theirs") as other:
        monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(registries.insecure(tmp_path, mine.host, other.host)))
        # One half before and one after ours: what else the machine does meanwhile weighs on both.
        before = theirs(images, other.host, slice(COUNT // 2))
        seconds = ours(tmp_path, images, mine.host)
        skopeo_seconds = before + theirs(images, other.host, slice(COUNT // 2, COUNT))
        assert set(whole(mine)) == set(whole(other)) == {len(TAGS)}
    rate = skopeo_seconds / seconds
    print(f"\n{COUNT} images under {len(TAGS)} names, {AT_ONCE} at a time: {seconds:.1f} s, skopeo copy "
          f"{skopeo_seconds:.1f} s: {rate:.2f} of its rate")  # fmt: skip
    assert rate >= LEAST
