"""What is in a folder, as one digest: whether an image's source has changed."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

LARGEST = 1_000_000  # bytes of a file that are read; a larger one is known by its size and its time
HISTORY = ".git"


class Contents:
    """Digests of folders. Folders within each other are read once."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def digest(self, folder: str) -> str:
        """The same for the same files with the same text, wherever the folder is. Links are not followed."""
        if folder not in self._known:
            for at in reversed(list(_folders(folder))):
                if at not in self._known:
                    self._known[at] = self._of(at)
        return self._known[folder]

    def _of(self, folder: str) -> str:
        digest = hashlib.sha256()
        for name in sorted(_names(folder)):
            path = os.path.join(folder, name)  # noqa: PTH118  # there are thousands
            inner = self._known.get(path)
            digest.update(f"{name}\0{inner or _entry(path)}\0".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()


def _folders(folder: str) -> Iterator[str]:
    """The folder and all below it, each before what is in it."""
    for at, folders, _ in os.walk(folder):
        folders[:] = [name for name in folders if name != HISTORY]
        yield at


def _names(folder: str) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if name != HISTORY]  # noqa: PTH208
    except OSError as error:
        return [f"{error.errno}"]


def _entry(path: str) -> str:
    """What stands for a file, a link, or anything else that is in a folder."""
    try:
        status = Path(path).lstat()
        if stat.S_ISLNK(status.st_mode):
            return f"link {os.readlink(path)}"  # noqa: PTH115
        executable = status.st_mode & 0o111
        if not stat.S_ISREG(status.st_mode):
            return f"kind {stat.S_IFMT(status.st_mode)}"
        if status.st_size > LARGEST:
            return f"file {executable} {status.st_size} {status.st_mtime_ns}"
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123
            return f"file {executable} {hashlib.sha256(file.read(LARGEST + 1)).hexdigest()}"
    except OSError as error:
        return f"unreadable {error.errno}"
