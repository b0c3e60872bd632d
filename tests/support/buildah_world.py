"""A small world for buildah: a repository with real RPMs, a tree of images, and a storage of its own."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rebuilder.builders.buildah import BuildahBuilder
from rebuilder.config import BuildahSettings
from rebuilder.demo import rootfs, rpms
from rebuilder.demo.rpms import SourcePackage
from rebuilder.domain.build import BuildRequest, Phase, Status
from rebuilder.domain.image import Image, ImageBuild
from rebuilder.inventory import containerfiles
from rebuilder.inventory.buildah_cli import Storage

WAIT_SECONDS = 60.0
# For an engine with buildah in such a world; further tables may follow.
CONFIGURATION = """\
[consumer_config]
database_url = "sqlite:///{folder}/rebuilder.db"
builder = "buildah"
settle_seconds = 0
poll_seconds = 0.05
[consumer_config.inventory]
source = "containerfiles"
path = "{folder}/images"
stream = "f42"
[consumer_config.streams.f42]
dist = ".fc42"
bodhi_releases = ["F42"]
[consumer_config.buildah]
root = "{folder}/storage"
runroot = "{folder}/run"
storage_driver = "vfs"
isolation = "chroot"
state = "{folder}/builds"
volumes = ["{folder}/repo:/repo:ro"]
"""


def package(version: str) -> SourcePackage:
    return SourcePackage("openssl", version, "1.fc42", ("openssl-libs",), epoch=1)


class Machine:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = folder / "repo"
        self.settings = BuildahSettings(
            root=folder / "storage", runroot=folder / "run", storage_driver="vfs", isolation="chroot",
            state=folder / "builds", volumes=(f"{self.repository}:/repo:ro",),
        )
        self.storage = Storage(self.settings)

    def begin(self) -> None:
        """The first RPM, and a base that installs it."""
        self.offer("3.2.1")
        rootfs.make(self.folder / "rootfs")
        self.write("base", "FROM scratch\nCOPY rootfs/ /\nRUN install-rpm openssl-libs\n")
        rootfs.copy(self.folder / "rootfs", self.folder / "images/base/rootfs")

    def begin_as(self, other: Machine) -> None:
        """All that the other has, its images too, which take seconds to build."""
        subprocess.run(["cp", "-a", f"{other.folder}/.", str(self.folder)], check=True)

    def offer(self, version: str) -> None:
        rpms.make(package(version), self.repository, self.folder / "rpmbuild")

    def write(self, name: str, text: str) -> None:
        place = self.folder / "images" / name
        place.mkdir(parents=True, exist_ok=True)
        (place / "Containerfile").write_text(text)

    def image(self, name: str) -> Image:
        found = containerfiles.read(self.folder / "images", "f42")
        return next(image for image in found if image.name == name)

    def builder(self, **changes: object) -> BuildahBuilder:
        return BuildahBuilder(self.settings.model_copy(update=changes))

    def build(self, name: str, key: str, parents: tuple[ImageBuild, ...] = ()) -> ImageBuild:
        builder = self.builder()
        builder.submit(BuildRequest(key, self.image(name), parents))
        status = ended(builder, key)
        assert status.phase is Phase.SUCCEEDED, "".join(builder.log(key))
        built = builder.result(key)
        builder.promote(built.image, key, built.ident)
        return built


@contextmanager
def machine(folder: Path, like: Machine | None = None) -> Iterator[Machine]:
    folder.mkdir(parents=True, exist_ok=True)
    made = Machine(folder)
    if like is None:
        made.begin()
    else:
        made.begin_as(like)
    yield made
    builder = made.builder()
    for build in (folder / "builds").glob("*"):
        builder.cancel(build.name)
    subprocess.run(made.storage.command("rm", "--all"), capture_output=True, check=False)


def ended(builder: BuildahBuilder, ref: str) -> Status:
    return until(lambda: (status := builder.poll([ref])[ref]).phase is not Phase.RUNNING and status)


def until(ready):  # type: ignore[no-untyped-def]
    """Wait for a true answer, and give it. What takes long to ask is asked less often: it slows what it waits for."""
    asked = time.monotonic()
    deadline = asked + WAIT_SECONDS
    while not (answer := ready()):
        answered = time.monotonic()
        assert answered < deadline, "it did not happen in time"
        time.sleep(max(0.02, answered - asked))
        asked = time.monotonic()
    return answer
