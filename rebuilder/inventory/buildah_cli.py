"""Buildah's image storage on this machine: what is in it, and what is in the images."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from rebuilder.config import BuildahSettings
from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import Manifest, PinnedParent
from rebuilder.domain.rpm import Rpm
from rebuilder.domain.wording import last_line
from rebuilder.registry import rpm_database
from rebuilder.registry.connection import is_insecure
from rebuilder.registry.errors import ContentsError
from rebuilder.registry.program import ask
from rebuilder.registry.rpm_database import DATABASES, RpmError

CALL_SECONDS = 300
ID = re.compile("[0-9a-f]{64}")
GONE = "image not known"  # what buildah says of an image that is not here
ELSEWHERE = "no image found in manifest list"  # what buildah says of a list without an image for this machine


class StorageError(RequestError):
    """Buildah or rpm could not do what they were asked for; the text is their own last line."""


class Gone(StorageError):
    """The image is not in the storage, or no more."""


class Unreadable(StorageError):
    """An image's RPM database cannot be read, now or later: what is in the image is unknown."""


class Listed(Struct, frozen=True):
    """An image as the storage lists it: its id, its names, and when it was made, to be compared as text.

    `digest` is that of its manifest in the storage, by which a list of platforms names its images.
    """

    ident: str
    names: tuple[str, ...]
    created: str
    digest: str = ""

    def older(self, moment: float) -> bool:
        """Whether it was made in a second before that of `moment` (seconds since the epoch)."""
        return self.created[:19] < datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")[:19]


class StoredImage(Struct, frozen=True):
    """An image of the storage: its id, the labels that a rebuild left on it, and its layers, the lowest first.

    `platforms` are those that it is for. A list of platforms has `parts`, the ids of its images, and
    the labels and layers of the first of these.
    """

    ident: str
    key: str
    parents: tuple[str, ...]
    layers: tuple[str, ...] = ()
    externals: tuple[PinnedParent, ...] = ()
    platforms: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()


class Storage:
    """The storage that the settings name, else buildah's own default. May be used from several threads.

    Every call raises StorageError where buildah is missing or fails.
    """

    def __init__(self, settings: BuildahSettings) -> None:
        self._settings = settings
        self._lists: dict[str, bool] = {}  # by id, whether it is a list of platforms: an image never changes

    def command(self, *arguments: str) -> list[str]:
        """A buildah command on this storage. Raises StorageError where buildah is not installed."""
        if shutil.which("buildah") is None:
            raise StorageError("buildah is not installed")
        at = self._settings
        options = [("--root", at.root), ("--runroot", at.runroot), ("--storage-driver", at.storage_driver)]
        return ["buildah", *(f"{name}={value}" for name, value in options if value), *arguments]

    def ids(self) -> dict[str, str]:
        """The id of every image by each of its names."""
        return {name: image.ident for image in self.images() for name in image.names}

    def images(self, *options: str) -> list[Listed]:
        """All images that have a name, or that others are not made from; `options` leave some out."""
        listed = json.loads(_run(self.command("images", "--json", "--no-trunc", *options)) or "null") or []
        return [
            Listed(image["id"].removeprefix("sha256:"), tuple(image.get("names") or ()), image["createdatraw"],
                   image.get("digest") or "")
            for image in listed
        ]  # fmt: skip

    def tag(self, image: str, name: str) -> None:
        """Give the image the name, in one step: whichever image had it has it no more."""
        _run(self.command("tag", "--", image, name))

    def nameless(self) -> list[Listed]:
        """The images that rebuilds made, and that newer ones took the names of."""
        return [image for image in self.images("--filter", "label=rebuilder.key") if not image.names]

    def push(self, image: str, spec: str, auth_file: Path | None, seconds: float) -> str:
        """Push the image under a name, within so many seconds; the digest that it has in the registry.

        A list of platforms is pushed with all of its images, as an index of OCI's.
        """
        login = (f"--authfile={auth_file}",) if auth_file else ()
        with tempfile.TemporaryDirectory(prefix="rebuilder-push-") as folder:
            file = Path(folder) / "digest"
            options = "--quiet", f"--digestfile={file}", *login
            if not self._is_list(image):
                _run(self.command("push", *options, "--", image, f"docker://{spec}"), seconds)
                return file.read_text().strip()
            return self._push_list(image, spec, options, file, seconds)

    def _push_list(self, image: str, spec: str, options: Sequence[str], file: Path, seconds: float) -> str:
        """`buildah manifest push` of 1.28 asks by TLS alone, and with a digest file it hides what went wrong."""
        plain = ("--tls-verify=false",) if is_insecure(spec.partition("/")[0]) else ()
        pushed = "manifest", "push", "--all", "--format=oci", *plain
        end = "--", image, f"docker://{spec}"
        _run(self.command(*pushed, *options, *end), seconds)
        if digest := file.read_text().strip():
            return digest
        _run(self.command(*pushed, *(option for option in options if "digestfile" not in option), *end), seconds)
        raise StorageError(f"buildah: {spec} was pushed, and its digest is unknown")

    def make_list(self, name: str, images: Sequence[str]) -> list[str]:
        """The command that makes these images, each for another platform, one list, and prints its id."""
        return self.command("manifest", "create", name, *images)

    def remove_list(self, name: str) -> None:
        """Delete a list of platforms by its name, without its images."""
        _run(self.command("manifest", "rm", "--", name))

    def pull(self, at: str, auth_file: Path | None, seconds: float) -> str:
        """Bring an image here, by its pull spec by digest, within so many seconds; its id."""
        login = (f"--authfile={auth_file}",) if auth_file else ()
        return _run(self.command("pull", "--quiet", *login, "--", f"docker://{at}"), seconds).split()[-1]

    def has(self, image: str) -> bool:
        """Whether an image of that id is here."""
        try:
            self.inspect(image)
        except Gone:
            return False
        return True

    def remove(self, image: str) -> None:
        """Delete an image; by one of several names, only the name goes. Raises StorageError where a container runs it.

        An image that others are made from is deleted all the same: whoever wants it kept has to look.
        """
        _run(self.command("rmi", "--", image))

    def remove_container(self, name: str) -> None:
        """Delete a container."""
        _run(self.command("rm", "--", name))

    def known(self, image: StoredImage) -> Manifest | None:
        """The image's manifest, over all of its platforms; None where a database cannot be read."""
        try:
            return Manifest.of(rpm for part in image.parts or (image.ident,) for rpm in self.manifest(part).rpms)
        except Unreadable:
            return None

    def inspect(self, image: str) -> StoredImage:
        """One image, by its name or id; a list of platforms by its id alone."""
        try:
            stored = self._inspect(image)
        except StorageError as error:
            if ELSEWHERE not in str(error):
                raise
            return self._inspect_list(image)
        # Of a list, buildah shows the image that fits this machine.
        if ID.fullmatch(image) and stored.ident != image:
            return self._inspect_list(image)
        self._lists[image] = False
        return stored

    def _is_list(self, image: str) -> bool:
        if image not in self._lists:
            self.inspect(image)
        return self._lists[image]

    def _inspect_list(self, image: str) -> StoredImage:
        self._lists[image] = True
        listed = json.loads(_run(self.command("manifest", "inspect", "--", image)))["manifests"]
        ids = {one.digest: one.ident for one in self.images()}
        parts = [self._inspect(ids[one["digest"]]) for one in listed if one["digest"] in ids]
        if not parts or len(parts) < len(listed):
            raise StorageError(f"buildah: not all images of the list {image[:12]} are in the storage")
        platforms = tuple(platform for part in parts for platform in part.platforms)
        return replace(parts[0], ident=image, platforms=platforms, parts=tuple(part.ident for part in parts))

    def _inspect(self, image: str) -> StoredImage:
        document = json.loads(_run(self.command("inspect", "--type", "image", "--", image)))
        content = document.get("OCIv1", {})
        labels = content.get("config", {}).get("Labels") or {}
        try:
            parents = tuple(str(ident) for ident in json.loads(labels.get("rebuilder.parents", "[]")))
            externals = tuple(PinnedParent(*p) for p in json.loads(labels.get("rebuilder.externals", "{}")).items())
        except (ValueError, TypeError, AttributeError):
            parents, externals = (), ()
        layers = tuple(content.get("rootfs", {}).get("diff_ids") or ())
        ident = document["FromImageID"].removeprefix("sha256:")
        platform = "/".join(str(content[name]) for name in ("os", "architecture", "variant") if content.get(name))
        return StoredImage(ident, labels.get("rebuilder.key", ""), parents, layers, externals, (platform,))

    def manifest(self, image: str) -> Manifest:
        """What the RPM database of an image says; nothing is in one that has none. Raises Unreadable too."""
        with self._mounted(image) as root:
            for path in self._settings.rpmdb:
                if any((root / path.lstrip("/") / name).exists() for name in DATABASES):
                    return Manifest.of(_rpms(root, path, image))
        return Manifest.of(())

    @contextmanager
    def _mounted(self, image: str) -> Iterator[Path]:
        container = _run(self.command("from", "--pull=never", "--", image)).strip()
        try:
            yield Path(_run(self.command("mount", "--", container)).strip())
        finally:
            with suppress(StorageError):  # what was read is read; a container that stays only takes room
                _run(self.command("rm", "--", container))


def _rpms(root: Path, path: str, image: str) -> tuple[Rpm, ...]:
    try:
        return tuple(rpm_database.read(("--root", str(root), "--dbpath", path), image))
    except ContentsError as error:
        raise Unreadable(str(error)) from None
    except RpmError as error:
        raise StorageError(str(error)) from None


def _run(command: Sequence[str], seconds: float = CALL_SECONDS) -> str:
    done = ask(command, seconds, StorageError)
    if done.returncode:
        said = last_line(done.stderr) or "it exited without output"
        raise (Gone if GONE in said else StorageError)(f"buildah: {said}")
    return done.stdout
