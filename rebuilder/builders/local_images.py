"""The images that builds leave in this machine's storage: under names of their own, proven, pruned.

A build has a name of its own from the moment when it is there, so that no clean-up takes it for a leftover. The
image's name, which people and other Containerfiles use, moves to it only when it is proven.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from rebuilder.builders.process import Process
from rebuilder.inventory.buildah_cli import Listed, Storage, StorageError
from rebuilder.inventory.tree_naming import LOCAL, tag

OWN = f"{LOCAL}rebuilder/"
PROVEN = "proven"  # the file that says so, in the folder of the build


def own_name(image: str, key: str, platform: str = "") -> str:
    """The name of one build, or of its image for one of several platforms, which no other ever gets."""
    part = f"/{platform.replace('/', '-')}" if platform else ""
    return f"{OWN}{image.rpartition(':')[0]}{part}:{key}"


def key_of(image: Listed) -> str:
    """The key of the build that made the image; "" where it has other names too, or was made by none."""
    return _own_key(image) if len(image.names) == 1 else ""


def parts_of(images: Sequence[Listed]) -> dict[str, list[Listed]]:
    """The images for single platforms, by the key of the build whose list they are in: they come and go with it.

    Those of a build that broke off before there was a list are images like others.
    """
    lists = {_own_key(image) for image in images if not _is_part(image)}
    parts: dict[str, list[Listed]] = {}
    for image in images:
        if _is_part(image) and _own_key(image) in lists:
            parts.setdefault(_own_key(image), []).append(image)
    return parts


def wholes_of(images: Sequence[Listed]) -> list[Listed]:
    """The images that have no name but their build's, without those that are in the list of another."""
    parts = {image.ident for listed in parts_of(images).values() for image in listed}
    return [image for image in images if key_of(image) and image.ident not in parts]


def _own_key(image: Listed) -> str:
    """The key of the build that made the image, whatever other names it has; "" where it was made by none."""
    return next((name.rpartition(":")[2] for name in image.names if name.startswith(OWN)), "")


def _is_part(image: Listed) -> bool:
    return any("/" in name.removeprefix(OWN) for name in image.names if name.startswith(OWN))


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
        ours: dict[str, list[Listed]] = {}
        for image in wholes_of(images):
            ours.setdefault(key_of(image), []).append(image)
        groups: dict[tuple[str, bool], list[Listed]] = {}
        for key in settled(ours.keys()):
            process = Process(self._state / key)
            if name := process.request.get("image"):
                groups.setdefault((str(name), process.marked(PROVEN)), []).extend(ours[key])
        named = {name for image in images for name in image.names}
        surplus = [
            image
            for (name, proven), group in groups.items()
            for image in _oldest_but(group, keep - (proven and tag(name) in named))
        ]
        return self.remove([*surplus, *self._pulled(images, settled)], images)

    def _pulled(
        self, images: Sequence[Listed], settled: Callable[[Collection[str]], Collection[str]]
    ) -> list[Listed]:
        """The external parents that builds pulled by digest, which have no other name, and no build that may need them.

        Those that images stand on stay all the same.
        """
        externals = {folder.name: _externals(Process(folder)) for folder in _folders(self._state)}
        over = set(settled(externals.keys()))
        needed = {at for key, places in externals.items() if key not in over for at in places}
        gone = {at for key in over for at in externals[key]} - needed
        return [image for image in images if image.names and gone.issuperset(image.names)]

    def remove(self, unwanted: Sequence[Listed], images: Sequence[Listed]) -> int:
        """Delete those that nothing stands on, of the storage's `images`; how many went. Raises StorageError."""
        if not unwanted:
            return 0
        lists = _lists(images)
        rows = {image.ident: self._layers_of(image.ident) for image in images if image.ident not in lists}
        self._layers = dict(rows)
        gone = 0
        for image in unwanted:
            parts = lists.get(image.ident, [image])
            if any(_stood_on(rows[one.ident], rows.values()) for one in parts):
                continue
            with suppress(StorageError):  # a container runs it, or somebody else took it away
                self._delete(image, lists, rows)
                gone += 1
        return gone

    def _delete(self, image: Listed, lists: Mapping[str, Sequence[Listed]], rows: dict[str, tuple[str, ...]]) -> None:
        """Delete an image, or a list with its images; what is gone has no row any more. Raises StorageError."""
        if image.ident in lists:
            self._storage.remove_list(image.names[0])
        for one in lists.get(image.ident, [image]):
            self._storage.remove(one.names[0] if one.names else one.ident)
            del rows[one.ident]

    def _layers_of(self, ident: str) -> tuple[str, ...]:
        if ident not in self._layers:
            self._layers[ident] = self._storage.inspect(ident).layers
        return self._layers[ident]


def _folders(state: Path) -> list[Path]:
    return [folder for folder in state.iterdir() if folder.is_dir()] if state.is_dir() else []


def _externals(process: Process) -> list[str]:
    """The external parents that the build was asked to stand on, by digest; none where its folder is not whole."""
    externals = process.request.get("externals")
    return [str(at) for at in externals] if isinstance(externals, list) else []


def _lists(images: Sequence[Listed]) -> dict[str, list[Listed]]:
    """The images for single platforms, by the id of the list that they are in."""
    parts = parts_of(images)
    wholes = [image for image in images if not _is_part(image)]
    return {image.ident: parts[key] for image in wholes if (key := _own_key(image)) in parts}


def _stood_on(layers: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> bool:
    """Whether some image goes on from all of these layers."""
    return any(len(row) > len(layers) and row[: len(layers)] == layers for row in rows)


def _oldest_but(group: Sequence[Listed], keep: int) -> list[Listed]:
    return sorted(group, key=lambda image: image.created, reverse=True)[max(0, keep) :]
