"""The members of a tar archive as it streams by, however hostile it is.

Of the archive nothing is held but the headers of one member, which are bounded; tarfile alone would hold names of any
length, read lists of holes without end, and go on for ages behind the end of an archive that says it is larger.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from typing import IO

from msgspec import Struct

from rebuilder.registry.errors import ContentsError

BLOCK, CHUNK = tarfile.BLOCKSIZE, 1 << 20
LARGEST_HEADER = 1 << 20  # bytes of a long name, of attributes, or of a list of holes
_LONG = {tarfile.GNUTYPE_LONGNAME: "path", tarfile.GNUTYPE_LONGLINK: "linkpath"}
_ATTRIBUTES = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_WITH_DATA = tarfile.REGULAR_TYPES
# What of these types is said to be large, as hard links are by some tools, is so elsewhere.
_WITHOUT_DATA = (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE)


class BrokenArchive(ContentsError):
    """It is no tar archive, or none that can be read."""


class Member(Struct, frozen=True):
    """A file, folder or link of the archive: `path` and `target` (of a link) as they are written there.

    `packed` is a file of which the archive has no more than what is between its holes. `size` is in bytes.
    """

    path: str
    kind: bytes
    target: str = ""
    size: int = 0
    packed: bool = False

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file, which has data."""
        return self.kind in _WITH_DATA

    @property
    def is_folder(self) -> bool:
        """Whether it is a directory."""
        return self.kind == tarfile.DIRTYPE

    @property
    def is_hard_link(self) -> bool:
        """Whether it is another name of an earlier member."""
        return self.kind == tarfile.LNKTYPE

    @property
    def is_symbolic_link(self) -> bool:
        """Whether it names a path, which may lead anywhere."""
        return self.kind == tarfile.SYMTYPE


class TarStream:
    """Reads an archive once. It may have `limit` bytes. Every method raises BrokenArchive."""

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self._stream, self._left = stream, limit
        self._data = self._padding = 0  # bytes of the present member that were not read yet

    def members(self) -> Iterator[Member]:
        """Each member in its order. What `copy` does not take of its contents is passed over."""
        said: dict[str, str] = {}
        first = True
        while (header := self._header(first=first)) is not None:
            first = False
            if header.type in _LONG:
                said[_LONG[header.type]] = _text(self._payload(header.size))
            elif header.type in _ATTRIBUTES:
                said |= _attributes(self._payload(header.size))
            else:
                member = self._member(header, said)
                said = {}
                if member is not None:
                    yield member
                self._skip()

    def copy(self, target: IO[bytes]) -> None:
        """Write the contents of the present member."""
        while self._data:
            data = self._read(min(self._data, CHUNK))
            self._data -= len(data)
            target.write(data)

    def _header(self, *, first: bool) -> tarfile.TarInfo | None:
        block = self._some(BLOCK)
        if not block and not first:
            return None
        try:
            header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.TarError as error:
            if not any(block) and len(block) == BLOCK:
                return None  # a block of zeros ends the archive
            raise BrokenArchive(str(error)) from None
        if header.size < 0 or (header.type in _WITH_DATA and header.size > self._left):
            raise BrokenArchive(f"a file in it has {header.size} bytes")
        return header

    def _member(self, header: tarfile.TarInfo, said: dict[str, str]) -> Member | None:
        """None for attributes that are about the whole archive."""
        size = _size(said, header.size)
        if header.type == tarfile.GNUTYPE_SPARSE:
            self._pass_holes(header)
        if header.type not in _WITHOUT_DATA:
            if size > self._left:
                raise BrokenArchive(f"a file in it has {size} bytes")
            self._data, self._padding = size, -size % BLOCK
        if header.type == tarfile.XGLTYPE:
            return None
        path = said.get("GNU.sparse.name") or said.get("path") or header.name
        packed = header.type == tarfile.GNUTYPE_SPARSE or any(name.startswith("GNU.sparse.") for name in said)
        return Member(path, header.type, said.get("linkpath") or header.linkname, size, packed)

    def _pass_holes(self, header: tarfile.TarInfo) -> None:
        """Where a file has more holes than its header has room for, there are blocks with more."""
        more = bool(header._sparse_structs[1])  # type: ignore[attr-defined]
        for _ in range(LARGEST_HEADER // BLOCK):
            if not more:
                return
            more = bool(self._read(BLOCK)[504])
        raise BrokenArchive("a file in it has too many holes")

    def _payload(self, size: int) -> bytes:
        if size > LARGEST_HEADER:
            raise BrokenArchive(f"a header in it has {size} bytes")
        payload = self._read(size)
        self._read(-size % BLOCK)
        return payload

    def _skip(self) -> None:
        left, self._data, self._padding = self._data + self._padding, 0, 0
        while left:
            left -= len(self._read(min(left, CHUNK)))

    def _read(self, size: int) -> bytes:
        """So many bytes, of which the caller has made sure that they are few."""
        data = self._some(size)
        if len(data) < size:
            raise BrokenArchive("it ends in the midst of a file")
        return data

    def _some(self, size: int) -> bytes:
        """So many bytes, or those that are left. A stream may give fewer at a time."""
        data = self._stream.read(size)
        while 0 < len(data) < size and (more := self._stream.read(size - len(data))):
            data += more
        self._left -= len(data)
        if self._left < 0:
            raise BrokenArchive("it unpacks to more than layers do")
        return data


def _text(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _attributes(raw: bytes) -> dict[str, str]:
    """The records of a header of attributes: each `LENGTH NAME=VALUE` with a line's end."""
    attributes = {}
    while raw.strip(b"\0"):
        written, space, _ = raw[:20].partition(b" ")
        length = int(written) if written.isdigit() else 0
        if not space or not len(written) + 2 < length <= len(raw):
            raise BrokenArchive("the attributes of a file in it make no sense")
        name, _, value = raw[len(written) + 1 : length - 1].partition(b"=")
        attributes[_text(name)] = _text(value)
        raw = raw[length:]
    return attributes


def _size(said: dict[str, str], written: int) -> int:
    text = said.get("size", "")
    if text and not (text.isascii() and text.isdigit() and len(text) < 20):
        raise BrokenArchive(f"a file in it has {text[:20]!r} bytes")
    return int(text) if text else written
