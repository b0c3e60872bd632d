"""The log of a run, in one file that is written while the run goes."""

from __future__ import annotations

import fcntl
import os
import threading
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO

from msgspec import Struct, field

from rebuilder.config import own_folder
from rebuilder.store.sqlite_file import only_ours

MARK = b" | "
END_BYTES = 4_000_000  # several platforms write at the same time, and go on when one has failed
PART = 100_000  # characters of a log that are in the memory at a time
ANCHOR = 5  # lines by which the place is known where a rotated log goes on
ROTATED = b"[the log was rotated before it was read: lines are missing here]"
LONGEST_LINE = 1_000_000  # bytes; a longer line is broken


class _Had(Struct):
    """What the file has of a source: how many lines, the first, and the last few."""

    count: int = 0
    first: bytes = b""
    last: deque[bytes] = field(default_factory=lambda: deque(maxlen=ANCHOR))

    def add(self, lines: Sequence[bytes]) -> None:
        if lines and not self.count:
            self.first = lines[0]
        self.count += len(lines)
        self.last.extend(lines[-ANCHOR:])


class _Reading:
    """One reading of a source from its beginning, and where in the file its next line belongs."""

    def __init__(self, insist: bool) -> None:
        self._insist = insist
        self._at: int | None = 0  # None where the place is looked for
        self._begun = False
        self._window: deque[bytes] = deque(maxlen=ANCHOR)

    @property
    def joined(self) -> bool:
        return self._at is not None

    def new(self, had: _Had, lines: Sequence[bytes]) -> list[bytes]:
        """Those of the lines that the file does not have."""
        notice: list[bytes] = []
        if lines and not self._begun:
            self._begun = True
            if had.count and lines[0] != had.first:
                self._at = had.count + 1 if self._insist else None
                notice = [ROTATED] if self._insist else []
        if self._at is None:
            lines = self._after_the_last(had, lines)
        if self._at is None:
            return []
        new = lines[max(0, had.count + len(notice) - self._at) :]
        self._at += len(lines)
        return [*notice, *new]

    def _after_the_last(self, had: _Had, lines: Sequence[bytes]) -> Sequence[bytes]:
        """The lines that follow the last ones of the file, where those are among them."""
        for at, line in enumerate(lines, 1):
            self._window.append(line)
            common = min(len(self._window), len(had.last))  # at the beginning, fewer lines must do
            if list(self._window)[-common:] == list(had.last)[-common:]:
                self._at = had.count
                return lines[at:]
        return ()


class RunLog:
    """One file, whose lines begin with the label of their source: a source that begins anew is known by its lines.

    Several threads may write, even of one source: each line of a source is written once.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._whole = path.with_suffix(".whole")
        self._lock = threading.Lock()
        self._had: defaultdict[bytes, _Had] | None = None
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

    def end_of(self, labels: Collection[str]) -> list[str]:
        """The lines of these sources in the end of the file, without their labels; none where there is no file."""
        prefixes = {label.encode() for label in labels}
        try:
            with self.path.open("rb") as file:
                file.seek(max(0, self.path.stat().st_size - END_BYTES))
                said = (line.partition(MARK) for line in file)
                return [text.rstrip(b"\n").decode(errors="replace") for label, _, text in said if label in prefixes]
        except FileNotFoundError:
            return []

    def _open(self) -> TextIO:
        """Only a line feed ends a line: logs have form feeds, and bytes that are no UTF-8."""
        return self.path.open(encoding="utf-8", errors="replace", newline="\n")

    def write(self, label: str, parts: Iterable[Sequence[bytes]], *, insist: bool = False) -> bool:
        """Add what the file does not have yet of these lines: all that the source still has, from the first one on.

        A kubelet rotates a log that grows long, and then answers with what came later: its lines are joined to those
        that are here. False where no place was found for them, and none was written; with `insist` they are added
        behind a line that says so.
        """
        reading, prefix = _Reading(insist), label.encode()
        for lines in parts:
            self._add(prefix, reading, lines)
        return reading.joined

    def _add(self, prefix: bytes, reading: _Reading, lines: Sequence[bytes]) -> None:
        with self._lock, self._locked() as file:
            try:
                if self._had is None or file.seek(0, os.SEEK_END) != self._size:
                    self._had = self._counted(file)
                had = self._had[prefix]
                new = reading.new(had, lines)
                file.writelines(prefix + MARK + line + b"\n" for line in new)
                file.flush()
                had.add(new)
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
    def _counted(file: BinaryIO) -> defaultdict[bytes, _Had]:
        """What the file has of each source. A line that was cut in two by a crash is taken back."""
        had: defaultdict[bytes, _Had] = defaultdict(_Had)
        file.seek(0)
        end = 0
        for line in file:
            if not line.endswith(b"\n"):
                file.truncate(end)
                break
            prefix, _, said = line.partition(MARK)
            had[prefix].add([said[:-1]])
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
