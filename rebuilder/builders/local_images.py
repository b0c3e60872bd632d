"""The images that builds leave in this machine's storage: under names of their own, proven, pruned.

A build has a name of its own from the moment when it is there, so that nobody's clean-up takes it for a leftover. The
image's name, which people and other Containerfiles use, moves to it only when it is proven.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from rebuilder.builders.process import Process
from rebuilder.inventory.buildah_cli import Listed, Storage, StorageError
from rebuilder.inventory.containerfiles import LOCAL, tag

OWN = f"{LOCAL}rebuilder/"
PROVEN = "proven"  # the file that says so, in the folder of the build


def own_name(image: str, key: str) -> str:
    """The name of one build, which no other ever gets."""
    return f"{OWN}{image.rpartition(':')[0]}:{key}"


def key_of(image: Listed) -> str:
    """The key of the build that made the image; "" where it has other names too, or was made by none."""
    if len(image.names) == 1 and image.names[0].startswith(OWN):
        return image.names[0].rpartition(":")[2]
    return ""


class LocalImages:
    """The images in `storage` of the builds whose folders are in `state`. May be used from several threads."""

    def __init__(self, storage: Storage, state: Path) -> None:
        self._storage = storage
        self._state = state
        self._layers: dict[str, tuple[str, ...]] = {}  # by image id: an image never changes

    def promote(self, image: str, key: str, ident: str) -> None:
        """Move the image's name to a proven build, in one step. Raises StorageError."""
        Process(self._state / key).mark(PROVEN)
        self._storage.tag(ident, tag(image))

    def prune(self, keep: int, settled: Callable[[Collection[str]], Collection[str]]) -> int:
        """Delete all but the newest `keep` builds of each image; how many went. Raises StorageError.

        Those that were never proven count apart, so that a row of bad builds costs no good one. `settled` tells which
        keys are of rebuilds that are over. An image stays that has a further name, that another image is made from, or
        that a container runs.
        """
        images = self._storage.images()
        ours = {key: image for image in images if (key := key_of(image))}
        groups: dict[tuple[str, bool], list[Listed]] = {}
        for key in settled(ours.keys()):
            process = Process(self._state / key)
            if name := process.request.get("image"):
                groups.setdefault((str(name), process.marked(PROVEN)), []).append(ours[key])
        named = {name for image in images for name in image.names}
        surplus = [
            image
            for (name, proven), group in groups.items()
            for image in _oldest_but(group, keep - (proven and tag(name) in named))
        ]
        return self.remove(surplus, images)

    def remove(self, unwanted: Sequence[Listed], images: Sequence[Listed]) -> int:
        """Delete those that nothing stands on, of the storage's `images`; how many went. Raises StorageError."""
        if not unwanted:
            return 0
        rows = {image.ident: self._layers_of(image.ident) for image in images}
        self._layers = dict(rows)
        gone = 0
        for image in unwanted:
            if _stood_on(rows[image.ident], rows.values()):
                continue
            with suppress(StorageError):  # a container runs it, or somebody else took it away
                self._storage.remove(image.names[0] if image.names else image.ident)
                del rows[image.ident]
                gone += 1
        return gone

    def _layers_of(self, ident: str) -> tuple[str, ...]:
        if ident not in self._layers:
            self._layers[ident] = self._storage.inspect(ident).layers
        return self._layers[ident]


def _stood_on(layers: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> bool:
    """Whether some image goes on from all of these layers."""
    return any(len(row) > len(layers) and row[: len(layers)] == layers for row in rows)


def _oldest_but(group: Sequence[Listed], keep: int) -> list[Listed]:
    return sorted(group, key=lambda image: image.created, reverse=True)[max(0, keep) :]
