"""Everything of one demonstration in one folder: repository, images, storage, database, logs, configuration."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from rebuilder.builders.buildah import BuildahBuilder
from rebuilder.config import BuildahSettings, Settings, load
from rebuilder.demo import images, rpms
from rebuilder.demo.process import Failed
from rebuilder.domain.build import BuildRequest, Phase
from rebuilder.domain.graph import Graph
from rebuilder.domain.image import Image, ImageBuild
from rebuilder.inventory import containerfiles
from rebuilder.inventory.buildah_cli import Storage

QUEUE = "rebuilder-demo"
CONFIGURATION = """amqp_url = "{amqp_url}"
callback = "consumers:Inbox"
passive_declares = false

[tls]
ca_cert = ""
keyfile = ""
certfile = ""

[qos]
prefetch_size = 0
prefetch_count = 1

[queues.{queue}]
durable = true
auto_delete = false
exclusive = false
arguments = {{}}

[[bindings]]
queue = "{queue}"
exchange = "amq.topic"
routing_keys = ["#.bodhi.update.complete.stable", "#.buildsys.tag"]

[consumer_config]
database_url = "sqlite:///{folder}/rebuilder.db"
builder = "buildah"
max_builds = 2
settle_seconds = 1
poll_seconds = 0.2

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
storage_driver = "{driver}"
state = "{folder}/builds"
volumes = ["{folder}/repo:/repo:ro"]
"""


class Site:
    """The folder of one demonstration."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = folder / "repo"
        self.configuration = folder / "config.toml"

    @property
    def settings(self) -> Settings:
        return load(self.configuration)

    def configure(self, amqp_url: str, driver: str) -> None:
        """Write the configuration that consumer, engine and we read."""
        text = CONFIGURATION.format(amqp_url=amqp_url, folder=self.folder, queue=QUEUE, driver=driver)
        self.configuration.write_text(text)

    def driver(self) -> str:
        """The storage driver that works here: overlay where it can, else vfs."""
        root, run = self.folder / "probe", self.folder / "probe-run"
        for name in ("overlay", "vfs"):
            probe = Storage(BuildahSettings(root=root, runroot=run, storage_driver=name))
            done = subprocess.run(probe.command("from", "scratch"), capture_output=True, check=False)
            self._forget(probe)
            if done.returncode == 0:
                return name
        raise Failed("buildah works neither with overlay nor with vfs storage here")

    def make_packages(self) -> None:
        """The repository with the old packages, and the new openssl set aside, not yet published."""
        for package in (images.OLD, *images.OTHERS):
            rpms.make(package, self.repository, self.folder / "rpmbuild")
        rpms.make(images.NEW, self.folder / "updates", self.folder / "rpmbuild")
        rpms.index(self.repository)

    def publish(self) -> None:
        """Put the new openssl into the repository."""
        for path in (self.folder / "updates").glob("*.rpm"):
            shutil.copy(path, self.repository)
        rpms.index(self.repository)

    def build_all(self, progress: Callable[[str], None]) -> None:
        """Build every image for the first time, base images first. Raises Failed with the log's end."""
        settings = self.settings
        builder = BuildahBuilder(settings.buildah)
        updated = settings.buildah.model_copy(update={"volumes": (f"{self.folder}/updates:/repo:ro",)})
        ahead = BuildahBuilder(updated)
        graph = Graph(containerfiles.read(self.folder / "images", images.STREAM))
        done: dict[str, ImageBuild] = {}
        for key in graph.ordered():
            image = graph.image(key)
            using = ahead if image.name == images.CURRENT else builder
            done[key] = _build(using, image, tuple(done[parent] for parent, _ in graph.parents(key)))
            progress(key)

    def read(self) -> Mapping[str, ImageBuild]:
        """Each image's id, parents and RPMs, from its own labels and database in the storage."""
        storage = Storage(self.settings.buildah)
        ids = storage.ids()
        found = {}
        for image in containerfiles.read(self.folder / "images", images.STREAM):
            ident = ids[containerfiles.tag(image.key)]
            found[image.key] = ImageBuild(image.key, ident, storage.manifest(ident), storage.inspect(ident).parents)
        return found

    def remove(self) -> None:
        """End the builds that still run, and take the folder away."""
        if self.configuration.exists():
            settings = self.settings
            if settings.buildah.state and settings.buildah.state.exists():
                builder = BuildahBuilder(settings.buildah)
                for build in settings.buildah.state.iterdir():
                    builder.cancel(build.name)
            self._forget(Storage(settings.buildah))
        shutil.rmtree(self.folder, ignore_errors=True)

    def _forget(self, storage: Storage) -> None:
        for arguments in (("umount", "--all"), ("rm", "--all"), ("rmi", "--all", "--force")):
            subprocess.run(storage.command(*arguments), capture_output=True, check=False)


def _build(builder: BuildahBuilder, image: Image, parents: tuple[ImageBuild, ...]) -> ImageBuild:
    ref = builder.submit(BuildRequest(f"first-{image.name}", image, parents)).ref
    while (status := builder.poll([ref])[ref]).phase is Phase.RUNNING:
        time.sleep(0.05)
    if status.phase is not Phase.SUCCEEDED:
        raise Failed(f"{image.key} could not be built: {status.reason}\n{''.join(builder.log(ref))[-2000:]}")
    built = builder.result(ref)
    builder.promote(image.key, ref, built.ident)
    return built
