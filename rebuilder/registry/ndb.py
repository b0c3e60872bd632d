"""RPM databases of the kind ndb, as openSUSE has them (`Packages.db`): many an rpm is built without it, as Debian's.

All that it takes is where the headers are; they go into a database of the kind that every rpm since 4.16 reads, and rpm
itself reads them there. The format is that of rpm's lib/backend/ndb: pages of slots, each of which names the blocks of
one header; all numbers are 32 bits, the lowest byte first.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from mmap import ACCESS_READ, mmap
from pathlib import Path

from rebuilder.registry.errors import ContentsError

NAME = "Packages.db"
HEAD, SLOT, START, END = (struct.Struct(form) for form in ("<4s4I", "<4s3I", "<4s3I", "<2I4s"))
PAGE, BLOCK = 4096, 16  # bytes
FIRST_SLOT = 32  # bytes before the first one


def copy(file: Path, database: Path, of: str) -> None:
    """Copy the headers into an empty database of the kind sqlite that rpm made; `of` says in errors whose they are.

    Raises ContentsError for a file of another kind, and for one that is broken.
    """
    try:
        with (
            file.open("rb") as stream,
            mmap(stream.fileno(), 0, access=ACCESS_READ) as data,
            closing(sqlite3.connect(database)) as connection,
            connection,
        ):
            connection.executemany("INSERT INTO Packages (hnum, blob) VALUES (?, ?)", _headers(data))
    except (ValueError, struct.error) as error:
        raise ContentsError(f"the RPM database of {of} cannot be read: {NAME}: {error}") from None


def _headers(data: mmap) -> Iterator[tuple[int, bytes]]:
    """The number and the header of each RPM. Raises ValueError and struct.error where they are broken."""
    magic, version, _, pages, _ = HEAD.unpack_from(data)
    if (magic, version) != (b"RpmP", 0) or not 0 < pages * PAGE <= len(data):
        raise ValueError("not a database of the kind ndb")
    seen: set[int] = set()
    for at in range(FIRST_SLOT, pages * PAGE, SLOT.size):
        magic, number, offset, count = SLOT.unpack_from(data, at)
        if magic != b"Slot" or (number and number in seen):
            raise ValueError(f"the slot at {at} is broken")
        if number:
            seen.add(number)
            yield number, _header(data, number, offset * BLOCK, count * BLOCK)


def _header(data: mmap, number: int, begin: int, size: int) -> bytes:
    magic, owner, _, length = START.unpack_from(data, begin)
    end = begin + size - END.size
    _, again, tail = END.unpack_from(data, end)
    if (magic, tail, owner, again) != (b"BlbS", b"BlbE", number, length) or begin + START.size + length > end:
        raise ValueError(f"the header of RPM {number} is broken")
    return data[begin + START.size : begin + START.size + length]
