"""The log of a run, in one file that is written while the run goes."""

from __future__ import annotations

import fcntl
import os
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO

from rebuilder.config import own_folder
from rebuilder.store.sqlite_file import only_ours

MARK = b" | "
PART = 100_000  # characters of a log that are in the memory at a time
LONGEST_LINE = 1_000_000  # bytes; a longer line is broken


class RunLog:
    """One file, whose lines begin with the label of their source: a source that begins anew is known by its lines.

    Several threads may write, even of one source: each line of a source is written once.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._whole = path.with_suffix(".whole")
        self._lock = threading.Lock()
        self._had: Counter[bytes] | None = None
        self._size = 0  # where we left the file

    @property
    def is_whole(self) -> bool:
        """Whether all that the run wrote is in the file; known also after a restart."""
        return self._whole.exists()

    def mark_whole(self) -> None:
        """Nothing will be added any more."""
        own_folder(self.path.parent)
        self._whole.touch(mode=0o600)

    def delete(self) -> None:
        """The log is wanted no more."""
        self._whole.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def read(self, offset: int) -> Iterator[str]:
        """What the file has from `offset` characters on, a part at a time."""
        try:
            with self._open() as file:
                while offset > 0 and (skipped := file.read(min(offset, PART))):
                    offset -= len(skipped)
                while part := file.read(PART):
                    yield part
        except FileNotFoundError:
            return

    def _open(self) -> TextIO:
        """Only a line feed ends a line: logs have form feeds, and bytes that are no UTF-8."""
        return self.path.open(encoding="utf-8", errors="replace", newline="\n")

    def write(self, label: str, parts: Iterable[Sequence[bytes]]) -> None:
        """Add what the file does not have yet of these lines: all of the source, from its first one on."""
        prefix, seen = label.encode(), 0
        for lines in parts:
            self._add(prefix, seen, lines)
            seen += len(lines)

    def _add(self, prefix: bytes, before: int, lines: Sequence[bytes]) -> None:
        """Add those of the lines that the file does not have; `before` lines of the source come before them."""
        with self._lock, self._locked() as file:
            try:
                if self._had is None or file.seek(0, os.SEEK_END) != self._size:
                    self._had = self._counted(file)
                new = lines[max(0, self._had[prefix] - before) :]
                file.writelines(prefix + MARK + line + b"\n" for line in new)
                file.flush()
                self._had[prefix] += len(new)
                self._size = file.tell()
            except OSError:
                self._had = None  # some of it may have been written
                raise

    @contextmanager
    def _locked(self) -> Iterator[BinaryIO]:
        """The file, for this process alone: another engine may still be writing into it."""
        own_folder(self.path.parent)
        with open(self.path, "ab+", opener=only_ours) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file

    @staticmethod
    def _counted(file: BinaryIO) -> Counter[bytes]:
        """How many lines of each source the file has. A line that was cut in two by a crash is taken back."""
        had: Counter[bytes] = Counter()
        file.seek(0)
        end = 0
        for line in file:
            if not line.endswith(b"\n"):
                file.truncate(end)
                break
            had[line.partition(MARK)[0]] += 1
            end += len(line)
        file.seek(0, os.SEEK_END)
        return had


def lines_of(chunks: Iterable[bytes], *, ended: bool) -> Iterator[list[bytes]]:
    """The lines in the bytes as they come; a carriage return or a line feed ends one, nothing else does.

    Where the log has `ended`, its last line may have no end; else that line is not whole yet, and is left out.
    """
    rest = b""
    for chunk in chunks:
        lines = (rest + chunk).splitlines(keepends=True)
        rest = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""  # a carriage return may be half an end
        if (whole := (len(rest.rstrip(b"\r")) - 1) // LONGEST_LINE * LONGEST_LINE) > 0:
            lines, rest = [*lines, rest[:whole]], rest[whole:]
        if lines:
            yield [part for line in lines for part in _broken(line)]
    if rest and ended:
        yield list(_broken(rest))


def _broken(line: bytes) -> Iterator[bytes]:
    """The line without its end, broken always at the same places."""
    line = line.rstrip(b"\r\n")
    return (line[at : at + LONGEST_LINE] for at in range(0, max(1, len(line)), LONGEST_LINE))
