"""One layer of an image, read as it streams by: RPM databases in it, and what of lower layers it takes away."""

from __future__ import annotations

import gzip
import posixpath
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

import zstandard
from msgspec import Struct

from rebuilder.domain.rpm import Rpm
from rebuilder.registry import rpm_database
from rebuilder.registry.errors import ContentsError

CHUNK = 1 << 20
WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"
WRITE_AHEAD = "rpmdb.sqlite-wal"
LARGEST_DATABASE = 1 << 30  # bytes of one folder: the databases of whole distributions have a tenth of that
LARGEST_WINDOW = 1 << 25  # bytes that zstd may look back: levels up to 19 need a quarter of that
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
ZSTD_SKIPPABLE = b"\x2a\x4d\x18"  # behind a first byte of 0x50 to 0x5f
Opener = Callable[[], AbstractContextManager[IO[bytes]]]
BROKEN = (tarfile.TarError, zlib.error, zstandard.ZstdError, EOFError, gzip.BadGzipFile)


class Layer(Struct, frozen=True):
    """What a layer says of RPM databases. Paths have no leading slash.

    `databases` has the RPMs by the folder of their database, None for one that cannot be read. `hidden` are paths that
    lower layers have no more, `opaque` are folders of which all that lower layers put into them is gone.
    """

    databases: dict[str, tuple[Rpm, ...] | None]
    hidden: frozenset[str] = frozenset()
    opaque: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Found:
    """What was seen of a layer so far; `files` has the names of the files that were kept, by their folder."""

    place: Path
    hidden: set[str] = field(default_factory=set)
    opaque: set[str] = field(default_factory=set)
    files: dict[str, dict[str, int]] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)


def read_layer(open_layer: Opener, folders: Sequence[str], of: str) -> Layer:
    """Read a layer once from its beginning to its end, and keep nothing but the RPM databases for a moment.

    `open_layer` gives the compressed stream; it is called again where a database is a hard link to a file before it.
    `folders` are those in which databases may be. Takes some MB of memory, however large the layer is. Raises
    ContentsError for a layer that is no tar archive, and what the stream itself raises.
    """
    with tempfile.TemporaryDirectory(prefix="rebuilder-layer-") as temporary:
        found = _Found(Path(temporary))
        try:
            _read(open_layer, folders, found)
        except BROKEN as error:
            raise ContentsError(f"a layer of {of} cannot be read: {error}") from None
        databases = {folder: _database(found, folder, of) for folder in found.files if _counts(found.files[folder])}
    return Layer(databases, frozenset(found.hidden), frozenset(found.opaque))


def _read(open_layer: Opener, folders: Sequence[str], found: _Found) -> None:
    with open_layer() as stream:
        _scan(stream, folders, found)
    if found.links:
        with open_layer() as stream:
            _follow(stream, found)


def _counts(files: Mapping[str, int]) -> bool:
    """Whether these files of a folder are a database, or change one of a lower layer."""
    return any(name in files for name in rpm_database.DATABASES) or files.get(WRITE_AHEAD, 0) > 0


def _database(found: _Found, folder: str, of: str) -> tuple[Rpm, ...] | None:
    if not any(name in found.files[folder] for name in rpm_database.DATABASES):
        return None  # a log of changes alone: what it changes is in a lower layer
    try:
        return rpm_database.at(found.place / folder, of)
    except ContentsError:
        return None


def _scan(stream: IO[bytes], folders: Sequence[str], found: _Found) -> None:
    for tar, member in _members(stream):
        path = _normal(member.name)
        folder, name = posixpath.split(path)
        if name == OPAQUE:
            if _above(folder, folders):
                found.opaque.add(folder)
        elif name.startswith(WHITEOUT):
            gone = posixpath.join(folder, name.removeprefix(WHITEOUT))
            if _above(gone, folders) or folder in folders:
                found.hidden.add(gone)
        elif folder in folders:
            _keep(tar, member, path, found)
        elif not member.isdir() and _above(path, folders):
            found.hidden.add(path)  # a link or a file stands where lower layers have the folder


def _keep(tar: tarfile.TarFile, member: tarfile.TarInfo, path: str, found: _Found) -> None:
    folder, name = posixpath.split(path)
    if member.islnk():
        found.links[_normal(member.linkname)] = path
    elif member.isfile():
        files = found.files.setdefault(folder, {})
        if sum(files.values()) + member.size > LARGEST_DATABASE:
            raise tarfile.TarError(f"/{folder} has more than {LARGEST_DATABASE} bytes")
        files[name] = member.size
        _write(tar, member, found.place / path)


def _follow(stream: IO[bytes], found: _Found) -> None:
    """Keep the files that databases are hard links to, under the names of the links."""
    for tar, member in _members(stream):
        path = found.links.get(_normal(member.name))
        if path is not None and member.isreg():
            _keep(tar, member.replace(name=path, deep=False), path, found)


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    source = tar.extractfile(member)
    if source is not None:
        with source, place.open("wb") as target:
            shutil.copyfileobj(source, target, CHUNK)


def _members(stream: IO[bytes]) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    with tarfile.open(fileobj=_plain(stream), mode="r|", bufsize=CHUNK, errorlevel=1) as tar:
        while (member := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # it would remember them all
            yield tar, member


def _plain(stream: IO[bytes]) -> IO[bytes]:
    """The stream without its compression. Media types of layers are not always true: the first bytes are."""
    first = stream.peek(4)[:4]  # type: ignore[attr-defined]  # a BufferedReader
    if first.startswith(GZIP):
        return cast(IO[bytes], gzip.GzipFile(fileobj=stream))
    if first == ZSTD or (first[1:] == ZSTD_SKIPPABLE and first[:1] in b"PQRSTUVWXYZ[\\]^_"):
        decompressor = zstandard.ZstdDecompressor(max_window_size=LARGEST_WINDOW)
        return decompressor.stream_reader(stream, read_across_frames=True)
    return stream


def _normal(path: str) -> str:
    return posixpath.normpath(f"/{path}").lstrip("/")


def _above(path: str, folders: Sequence[str]) -> bool:
    """Whether one of the folders is the path, or is in it; the root is the empty path."""
    return not path or any(folder == path or folder.startswith(f"{path}/") for folder in folders)
