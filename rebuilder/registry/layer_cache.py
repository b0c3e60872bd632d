"""What layers and images were found to have, kept by their digests in a folder: digests never change their meaning."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

FORMAT = "2"  # of the files; another one is not looked at
MOST = 2000  # files that are kept: a layer has some KB, or with a large RPM database some hundred
T = TypeVar("T")


class LayerCache:
    """A folder of small files. Several processes may use it at one time. It raises nothing: what fails is not cached.

    Nothing secret is in it, and it may be deleted at any time.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / FORMAT

    def get(self, digest: str, kind: type[T]) -> T | None:
        """What was kept for the digest."""
        path = self._path(digest, kind)
        try:
            found = msgspec.json.decode(path.read_bytes(), type=kind)
            os.utime(path)
        except (OSError, msgspec.DecodeError):
            return None
        return found

    def put(self, digest: str, value: object) -> None:
        """Keep the value, whole or not at all."""
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o750)
            with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:
                file.write(msgspec.json.encode(value))
            Path(file.name).replace(self._path(digest, type(value)))

    def prune(self) -> None:
        """Let go of what was not used for longest."""
        with suppress(OSError):
            files = sorted(self._folder.iterdir(), key=lambda file: file.stat().st_mtime, reverse=True)
            for file in files[MOST:]:
                file.unlink(missing_ok=True)

    def _path(self, digest: str, kind: type) -> Path:
        return self._folder / f"{kind.__name__.lower()}-{digest.replace(':', '-')}.json"
