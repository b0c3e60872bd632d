"""Everything of one demonstration in one folder: repository, images, storage, database, logs, configuration."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rebuilder.builders.buildah import BuildahBuilder
from rebuilder.config import BuildahSettings, Settings, load
from rebuilder.demo import images, rpms
from rebuilder.demo.process import Failed
from rebuilder.domain.build import BuildRequest, Phase
from rebuilder.domain.graph import Graph
from rebuilder.domain.image import Image, ImageBuild, PinnedParent
from rebuilder.inventory import containerfiles, tree_naming
from rebuilder.inventory.buildah_cli import Storage

QUEUE = "rebuilder-demo"
PUSH_SECONDS = 60.0
REMOVALS, REMOVAL_SECONDS = 20, 0.2
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

[consumer_config.reconcile]
externals_seconds = 1

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

[consumer_config.registry]
push = "{registry}/team/{{name}}"
"""


class Site:
    """The folder of one demonstration."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = folder / "repo"
        self.theirs = folder / "theirs"
        self.configuration = folder / "config.toml"

    @property
    def settings(self) -> Settings:
        """The configuration as the commands read it."""
        return load(self.configuration)

    def configure(self, amqp_url: str, driver: str, registry: str) -> None:
        """Write the configuration that consumer, engine and we read; images are pushed to the registry of that host."""
        text = CONFIGURATION.format(
            amqp_url=amqp_url, folder=self.folder, queue=QUEUE, driver=driver, registry=registry
        )
        self.configuration.write_text(text)

    def of_owners(self, driver: str) -> BuildahSettings:
        """The machine on which the base is built, which has nothing but the repository in common with ours."""
        at = self.theirs
        return BuildahSettings(
            root=at / "storage", runroot=at / "run", state=at / "builds", storage_driver=driver,  # type: ignore[arg-type]
            volumes=(f"{self.repository}:/repo:ro",),
        )  # fmt: skip

    def of_users(self) -> BuildahSettings:
        """The machine of somebody who runs the images, which has none of them yet."""
        at = self.folder / "users"
        driver = self.settings.buildah.storage_driver
        return BuildahSettings(root=at / "storage", runroot=at / "run", state=at / "builds", storage_driver=driver)

    def driver(self) -> str:
        """The storage driver that works here: overlay where it can, else vfs. Raises Failed where neither does."""
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

    def build_all(self, base: PinnedParent, progress: Callable[[str], None]) -> None:
        """Build each of our images for the first time, parents first, and push them beside that.

        Raises Failed with the log's end, and RegistryError.
        """
        settings = self.settings
        builder = BuildahBuilder(settings.buildah)
        updated = settings.buildah.model_copy(update={"volumes": (f"{self.folder}/updates:/repo:ro",)})
        ahead = BuildahBuilder(updated)
        graph = Graph(containerfiles.read(self.folder / "images", images.STREAM))
        done: dict[str, ImageBuild] = {}
        with ThreadPoolExecutor(1) as beside:
            pushed = []
            for key in graph.ordered():
                image = graph.image(key)
                using = ahead if image.name == images.CURRENT else builder
                parents = tuple(done[parent] for parent, _ in graph.parents(key))
                on_base = (base,) if image.externals else ()
                done[key] = first_build(using, image, parents, f"first-{image.name}", on_base)
                using.promote(key, f"first-{image.name}", done[key].ident)
                pushed.append(beside.submit(builder.upload, done[key].ident, self.name_of(key), None, PUSH_SECONDS))
                progress(key)
        for push in pushed:
            push.result()

    def name_of(self, key: str) -> str:
        """The floating tag of an image in the registry."""
        ((spec, _),) = [one for one in self.settings.registry.specs(key, "", 0) if one[1]]
        return spec

    def pull(self) -> Mapping[str, ImageBuild]:
        """Pull each image by its floating tag into an empty storage; their ids, and RPMs by their databases there."""
        storage, builds = Storage(self.of_users()), {}
        for image in containerfiles.read(self.folder / "images", images.STREAM):
            ident = storage.pull(self.name_of(image.key), None, PUSH_SECONDS)
            builds[image.key] = ImageBuild(image.key, ident, storage.manifest(ident))
        return builds

    def read(self) -> Mapping[str, ImageBuild]:
        """Each image's id, parents and RPMs, from its own labels and database in the storage."""
        storage = Storage(self.settings.buildah)
        ids = storage.ids()
        builds = {}
        for image in containerfiles.read(self.folder / "images", images.STREAM):
            ident = ids[tree_naming.tag(image.key)]
            stored = storage.inspect(ident)
            manifest = storage.manifest(ident)
            builds[image.key] = ImageBuild(image.key, ident, manifest, stored.parents, externals=stored.externals)
        return builds

    def remove(self) -> bool:
        """End the builds that still run, and take the folder away; whether all of it is gone."""
        storages = self._storages()
        for _ in range(REMOVALS):  # what was killed may write until it is gone, or have mounted its storage once more
            for settings in storages:
                _cancel_builds(settings)
                self._forget(Storage(settings))
            shutil.rmtree(self.folder, ignore_errors=True)
            if not self.folder.exists():
                return True
            time.sleep(REMOVAL_SECONDS)
        return False

    def _storages(self) -> tuple[BuildahSettings, ...]:
        if not self.configuration.exists():
            return ()
        ours = self.settings.buildah
        return ours, self.of_owners(ours.storage_driver), self.of_users()

    def _forget(self, storage: Storage) -> None:
        for arguments in (("umount", "--all"), ("rm", "--all"), ("rmi", "--all", "--force")):
            subprocess.run(storage.command(*arguments), capture_output=True, check=False)


def _cancel_builds(settings: BuildahSettings) -> None:
    if settings.state and settings.state.exists():
        builder = BuildahBuilder(settings)
        for build in settings.state.iterdir():
            builder.cancel(build.name)


def first_build(
    builder: BuildahBuilder, image: Image, parents: tuple[ImageBuild, ...], key: str,
    externals: tuple[PinnedParent, ...] = (),
) -> ImageBuild:  # fmt: skip
    """Build an image without the engine. Raises Failed with the log's end."""
    ref = builder.submit(BuildRequest(key, image, parents, externals=externals)).ref
    while (status := builder.poll([ref])[ref]).phase is Phase.RUNNING:
        time.sleep(0.05)
    if status.phase is not Phase.SUCCEEDED:
        raise Failed(f"{image.key} could not be built: {status.reason}\n{''.join(builder.log(ref))[-2000:]}")
    return builder.result(ref)
