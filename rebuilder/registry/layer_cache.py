"""What layers and images were found to have, kept by their digests in a folder: digests never change their meaning."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from itertools import accumulate, count
from operator import itemgetter
from pathlib import Path
from typing import TypeVar

import msgspec

FORMAT = "3"  # of the files; another one is not looked at
MOST = 20_000  # files that are kept: an image has three, and one for each of its own layers
MOST_BYTES = 1 << 30  # of all that are kept: a file has some KB, or with a large RPM database some hundred
EACH = 500  # files that are written between two looks at what there is
T = TypeVar("T")


class LayerCache:
    """A folder of small files. Several processes may use it at one time. It raises nothing: what fails is not cached.

    Nothing secret is in it, and it may be deleted at any time.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / FORMAT
        self._written = count()

    def get(self, digest: str, kind: type[T]) -> T | None:
        """What was kept for the digest."""
        path = self._path(digest, kind)
        try:
            kept = msgspec.json.decode(path.read_bytes(), type=kind)
            os.utime(path)
        except (OSError, msgspec.DecodeError):
            return None
        return kept

    def put(self, digest: str, value: object) -> None:
        """Keep the value, whole or not at all."""
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o750)
            with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:
                file.write(msgspec.json.encode(value))
            Path(file.name).replace(self._path(digest, type(value)))
            if next(self._written) % EACH == 0:
                self._prune()

    def _prune(self) -> None:
        """Let go of what was not used for longest."""
        files = sorted(((file.stat().st_mtime, file.stat().st_size, file) for file in self._folder.iterdir()),
                       key=itemgetter(0), reverse=True)  # fmt: skip
        kept = accumulate(size for _, size, _ in files)
        for number, ((_, _, file), size) in enumerate(zip(files, kept, strict=True)):
            if number >= MOST or size > MOST_BYTES:
                file.unlink(missing_ok=True)

    def _path(self, digest: str, kind: type) -> Path:
        return self._folder / f"{kind.__name__.lower()}-{digest.replace(':', '-')}.json"
