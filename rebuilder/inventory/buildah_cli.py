"""Buildah's image storage on this machine: what is in it, and what is in the images."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rebuilder.config import BuildahSettings
from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import Manifest, PinnedParent
from rebuilder.domain.rpm import Rpm
from rebuilder.registry import rpm_database
from rebuilder.registry.errors import ContentsError
from rebuilder.registry.rpm_database import DATABASES, RpmError

CALL_SECONDS = 300


class StorageError(RequestError):
    """Buildah or rpm could not do what they were asked for; the text is their own last line."""


class Unreadable(StorageError):
    """An image's RPM database cannot be read, now or later: what is in the image is unknown."""


@dataclass(frozen=True, slots=True)
class Listed:
    """An image as the storage lists it: its id, its names, and when it was made, to be compared as text."""

    ident: str
    names: tuple[str, ...]
    created: str

    def older(self, moment: float) -> bool:
        """Whether it was made in a second before the moment's."""
        return self.created[:19] < datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")[:19]


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image of the storage: its id, the labels that a rebuild left on it, and its layers, the lowest first."""

    ident: str
    key: str
    parents: tuple[str, ...]
    layers: tuple[str, ...] = ()
    externals: tuple[PinnedParent, ...] = ()


class Storage:
    """The storage that the settings name, else buildah's own default. May be used from several threads.

    Every call raises StorageError where buildah is missing or fails.
    """

    def __init__(self, settings: BuildahSettings) -> None:
        self._settings = settings

    def command(self, *arguments: str) -> list[str]:
        """A buildah command on this storage."""
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
            Listed(image["id"].removeprefix("sha256:"), tuple(image.get("names") or ()), image["createdatraw"])
            for image in listed
        ]

    def tag(self, image: str, name: str) -> None:
        """Give the image the name, in one step: whichever image had it has it no more."""
        _run(self.command("tag", "--", image, name))

    def nameless(self) -> list[Listed]:
        """The images that rebuilds made, and that newer ones took the names of."""
        return [image for image in self.images("--filter", "label=rebuilder.key") if not image.names]

    def push(self, image: str, spec: str, auth_file: Path | None, seconds: float) -> str:
        """Push the image under a name, within so many seconds; the digest that it has in the registry."""
        login = (f"--authfile={auth_file}",) if auth_file else ()
        with tempfile.TemporaryDirectory(prefix="rebuilder-push-") as folder:
            file = Path(folder) / "digest"
            options = "--quiet", f"--digestfile={file}", *login
            _run(self.command("push", *options, "--", image, f"docker://{spec}"), seconds)
            return file.read_text().strip()

    def remove(self, image: str) -> None:
        """Delete an image; by one of several names, only the name goes. Raises StorageError where a container runs it.

        An image that others are made from is deleted all the same: whoever wants it kept has to look.
        """
        _run(self.command("rmi", "--", image))

    def remove_container(self, name: str) -> None:
        """Delete a container."""
        _run(self.command("rm", "--", name))

    def known(self, image: str) -> Manifest | None:
        """The image's manifest; None where its database cannot be read."""
        try:
            return self.manifest(image)
        except Unreadable:
            return None

    def inspect(self, image: str) -> StoredImage:
        """One image, by its name or id."""
        told = json.loads(_run(self.command("inspect", "--type", "image", "--", image)))
        content = told.get("OCIv1", {})
        labels = content.get("config", {}).get("Labels") or {}
        try:
            parents = tuple(str(ident) for ident in json.loads(labels.get("rebuilder.parents", "[]")))
            externals = tuple(PinnedParent(*p) for p in json.loads(labels.get("rebuilder.externals", "{}")).items())
        except (ValueError, TypeError, AttributeError):
            parents, externals = (), ()
        layers = tuple(content.get("rootfs", {}).get("diff_ids") or ())
        ident = told["FromImageID"].removeprefix("sha256:")
        return StoredImage(ident, labels.get("rebuilder.key", ""), parents, layers, externals)

    def manifest(self, image: str) -> Manifest:
        """What the image's own RPM database says; nothing is in an image that has none. Raises Unreadable too."""
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
    done = _call(command, seconds)
    if done.returncode:
        raise StorageError(f"buildah: {_last_line(done.stderr)}")
    return done.stdout


def _call(command: Sequence[str], seconds: float = CALL_SECONDS) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        raise StorageError(f"{command[0]} did not answer within {seconds:g} s") from None
    except OSError as error:
        raise StorageError(f"{command[0]}: {error.strerror or error}") from None


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it exited without output"
