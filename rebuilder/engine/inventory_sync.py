"""The inventory's source, and bringing the store in step with it."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Connection, Engine

from rebuilder.config import Settings
from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import Fault, Image, ImageBuild, Inventory, Manifest
from rebuilder.inventory.source import Progress, source_of
from rebuilder.store import actions, deliveries, heartbeats, installed_packages, inventory, manifests
from rebuilder.store.actions import Verb
from rebuilder.store.database import reading
from rebuilder.store.sync import SyncResult, save_inventory
from rebuilder.store.upsert import chunks

SKEW_SECONDS = 300.0  # by which the clock of who writes a document may be before ours
INTERNED = 100  # manifests in one transaction: a writer of SQLite keeps others waiting no longer


def read(engine: Engine, settings: Settings, progress: Progress | None = None) -> Inventory:
    """All images of the configured source; of a build that the store has already, the manifest is left out.

    Raises RequestError where the source is wrong or there is none, and InfrastructureError where it is away.
    """
    source = source_of(settings)
    snapshot = source.read(settings, StoredInventory(engine), progress)
    return _with_last_known(engine, snapshot) if source.remembered else snapshot


def _with_last_known(engine: Engine, snapshot: Inventory) -> Inventory:
    if not snapshot.faults:
        return snapshot
    with reading(engine) as connection:
        return with_last_known(snapshot, inventory.find(connection, [fault.image for fault in snapshot.faults]))


def with_last_known(snapshot: Inventory, earlier: Mapping[str, Image]) -> Inventory:
    """An image that cannot be read stays as it was `earlier`; what is built on one that never was waits, too.

    Raises RequestError where nothing at all can be read.
    """
    unread = [fault.image for fault in snapshot.faults]
    missing = set(unread) - earlier.keys()
    images = [*snapshot.images, *(earlier[key] for key in unread if key not in missing)]
    faults = list(snapshot.faults)
    while stranded := _stranded(images, missing):
        faults += [Fault(key, f"{key}: its parent {parent} cannot be read") for key, parent in stranded.items()]
        missing |= stranded.keys()
        images = [image for image in images if image.key not in missing]
    if not images:
        raise RequestError(faults[0].told)
    builds = tuple(filter(lambda build: build.image not in missing, snapshot.builds))
    return replace(snapshot, images=tuple(images), builds=builds, faults=tuple(faults))


def _stranded(images: Iterable[Image], missing: Collection[str]) -> dict[str, str]:
    """The images of which a parent is missing, each with the first such parent."""
    lost = {image.key: [parent.image for parent in image.parents if parent.image in missing] for image in images}
    return {key: parents[0] for key, parents in lost.items() if parents}


class StoredInventory(Struct, frozen=True):
    """What was taken in before, for the source."""

    engine: Engine

    @property
    def cache(self) -> StoredManifests:
        return StoredManifests(self.engine)

    def images(self) -> Mapping[str, Image]:
        with reading(self.engine) as connection:
            return {image.key: image for image in inventory.load(connection).images}

    def builds(self) -> Mapping[str, str]:
        with reading(self.engine) as connection:
            return {key: build.ident for key, build in inventory.current_builds(connection).items()}

    def unread(self) -> Collection[str]:
        with reading(self.engine) as connection:
            return installed_packages.unread(connection)

    def last_digests(self, each: int) -> Mapping[str, Sequence[str]]:
        with reading(self.engine) as connection:
            return inventory.last_digests(connection, each)


class StoredManifests(Struct, frozen=True):
    """What was read of an inventory so far, kept in the database. Threads may share it."""

    engine: Engine

    def get(self, nvrs: Collection[str]) -> Mapping[str, Manifest]:
        with reading(self.engine) as connection:
            return manifests.read_before(connection, list(nvrs))

    def put(self, by_nvr: Mapping[str, Manifest]) -> None:
        for part in chunks(list(by_nvr), INTERNED):
            with self.engine.begin() as connection:
                manifests.keep_read(connection, {nvr: by_nvr[nvr] for nvr in part}, time.time())


class ReadInventory(Struct, frozen=True):
    """What the source said, and which build of each image was current when the reading began.

    An image whose name was still to move to its build is not in `before`: what its name said is no news.

    `written` says that people or scripts write the source down, or push what they have built into it: what it says of
    builds is a first word, not news.
    """

    inventory: Inventory
    before: Mapping[str, str]
    written: bool = False


def fetch(engine: Engine, settings: Settings, progress: Progress | None = None) -> ReadInventory:
    """Read the source, and intern what its builds hold: what is left to be saved is little.

    Raises what `read` raises, and RequestError for a build of the future: it would be later than each that is proven.
    Made beside the loop: builds may end meanwhile, and the inventory may change.
    """
    with reading(engine) as connection:
        named_soon = deliveries.pending_images(connection)
        builds = inventory.current_builds(connection)
    before = {key: build.ident for key, build in builds.items() if key not in named_soon}
    snapshot = read(engine, settings, progress)
    _refuse_future(snapshot.builds, time.time())
    contents = [build.manifest for build in snapshot.builds if build.manifest is not None]
    for part in chunks(contents, INTERNED):
        with engine.begin() as connection:
            manifests.intern(connection, part)
        if progress is not None:
            progress(len(contents), len(contents))
    return ReadInventory(snapshot, before, source_of(settings).written)


def _refuse_future(builds: Iterable[ImageBuild], now: float) -> None:
    for build in builds:
        if build.built is not None and build.built > now + SKEW_SECONDS:
            raise RequestError(f"{build.image}: built: is in the future: must be when these RPMs were in the image")


def save(connection: Connection, fetched: ReadInventory, now: float, reset: Collection[str] = ()) -> SyncResult:
    """Take in what was read. A build that was recorded since the reading began stays its image's current one.

    So does one that a rebuild made where a document says something else, unless that is later or is to be `reset`.
    """
    manifests.forget_read(connection)
    current = inventory.current_builds(connection)
    moved = {key for key, build in current.items() if fetched.before.get(key) != build.ident}
    overruled = _overruled(connection, fetched, current).difference(reset)
    builds = tuple(build for build in fetched.inventory.builds if build.image not in moved | overruled)
    saved = save_inventory(connection, replace(fetched.inventory, builds=builds), now)
    heartbeats.unread(connection, [fault.told for fault in saved.faults], now)
    return replace(saved, overruled=tuple(sorted(overruled)))


def _overruled(
    connection: Connection, fetched: ReadInventory, current: Mapping[str, ImageBuild]
) -> set[str]:
    """The images of which a document says older things than a rebuild has proved."""
    if not fetched.written:
        return set()
    proven = inventory.proven(connection)
    return {
        build.image
        for build in fetched.inventory.builds
        if build.image in proven and current[build.image].ident != build.ident
        and not (build.built is not None and build.built > proven[build.image])
    }


def sync(
    engine: Engine, settings: Settings, who: str, progress: Progress | None = None, *,
    reset: Collection[str] = (), rehearsing: bool = False,
) -> SyncResult:
    """Read the source, take in what it says, and ask the engine to look at what changed, for the operator `who`.

    Raises what `fetch` and `save` raise, and RequestError for an image to reset that the source does not have. What it
    says of images that are to be `reset` counts whatever rebuilds made. With `rehearsing` nothing is changed.
    """
    fetched = fetch(engine, settings, progress)
    if unknown := sorted(set(reset) - {image.key for image in fetched.inventory.images}):
        raise RequestError(f"no such image in the inventory's source: {', '.join(unknown)}")
    now = time.time()
    with engine.connect() as connection, connection.begin() as transaction:
        saved = save(connection, fetched, now, reset)
        if saved.changed or saved.rebuilt:
            actions.request(connection, Verb.CATCH_UP, "inventory", who, "the inventory was read", now)
        if rehearsing:
            transaction.rollback()
    return saved
