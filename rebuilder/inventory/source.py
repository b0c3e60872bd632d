"""What the rest of rebuilder asks of a source of images."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Protocol

from rebuilder.config import SOURCES, Settings
from rebuilder.domain.image import Image, Inventory, Manifest

Progress = Callable[[int, int], None]  # how many are read, of how many


class ManifestCache(Protocol):
    """Keeps what was read until the inventory is taken in whole: a read that was broken off goes on where it was."""

    def get(self, nvrs: Collection[str]) -> Mapping[str, Manifest]:
        """The manifests of those of these builds that are kept."""

    def put(self, manifests: Mapping[str, Manifest]) -> None:
        """Keep these, by the builds' NVRs."""


class KnownInventory(Protocol):
    """What was taken in before; each question is a query."""

    @property
    def cache(self) -> ManifestCache:
        """What was read since the inventory was taken in last."""

    def images(self) -> Mapping[str, Image]:
        """The images, by name:stream."""

    def builds(self) -> Mapping[str, str]:
        """The idents of the current builds, by image."""

    def unread(self) -> Collection[str]:
        """The images whose contents are unknown."""

    def last_digests(self, each: int) -> Mapping[str, Sequence[str]]:
        """The digests of the last builds of each image, newest first."""


class InventorySource:
    """A source of images. Others add theirs by an entry point in the group `rebuilder.sources`, named as `source` is.

    * `written`: people or scripts write it down, or push into it what they have built. What it says of builds is a
      first word, which a rebuild of ours overrules.
    * `remembered`: an image that cannot be read stays as it was known before.
    * `follows_koji_tags`: its images are what the `koji_tags` of the streams hold, so that messages about these tell of
      images, and a build may be taken back there.
    * `needs_path`: without `path` in `[consumer_config.inventory]` there is nothing to read.
    * `moves`: images can change there without us.
    * `commands`: the programs that it needs.

    For `rebuilder init`:

    * `asks`: the keys that it asks for: of `path`, `stream` and `repositories` in `[consumer_config.inventory]`, `tags`
      and `koji_tags` of the stream.
    * `usual_path`, `usual_builder`: what is taken where no other answer is given.
    * `told`: the comment above the section.
    """

    written: ClassVar[bool] = False
    remembered: ClassVar[bool] = False
    follows_koji_tags: ClassVar[bool] = False
    needs_path: ClassVar[bool] = False
    moves: ClassVar[bool] = True
    commands: ClassVar[Collection[str]] = ()
    asks: ClassVar[Collection[str]] = ()
    usual_path: ClassVar[str] = ""
    usual_builder: ClassVar[str] = "simulated"
    told: ClassVar[str] = ""

    def is_named(self, settings: Settings) -> bool:
        """Whether the configuration says where the images are to be read."""
        return not self.needs_path or settings.inventory.path is not None

    def read(self, settings: Settings, known: KnownInventory, progress: Progress | None) -> Inventory:
        """All images; a build that is known already may come without its manifest.

        Raises RequestError where the configuration or all of the source is wrong, and InfrastructureError where it is
        away. One image that cannot be read is a fault in the inventory, and stops no other.
        """
        raise NotImplementedError

    def at_hand(self, settings: Settings) -> Iterable[Image]:
        """The images as they are written down on this machine; none where others must be asked. Raises RequestError."""
        return ()

    def check(self, settings: Settings) -> None:
        """Raises RequestError saying what the configuration lacks. Asks no service."""

    def files(self, settings: Settings) -> Mapping[str, Path | None]:
        """The files that must be readable, by their keys in the configuration."""
        return {}

    def folders(self, settings: Settings) -> Mapping[str, Path | None]:
        """The folders that must be there and are only read, by their keys in the configuration."""
        return {}


def source_of(settings: Settings) -> InventorySource:
    """The source that is configured. Raises RequestError."""
    source: InventorySource = SOURCES.load(settings.inventory.source)
    return source
