"""One layer of an image, read as it streams by: RPM databases in it, and what of lower layers it takes away."""

from __future__ import annotations

import gzip
import posixpath
import shutil
import tempfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, cast

import zstandard
from msgspec import Struct, field

from rebuilder.domain.rpm import Rpm
from rebuilder.registry import rpm_database
from rebuilder.registry.errors import ContentsError
from rebuilder.registry.tar_stream import BrokenArchive, Member, TarStream

WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"
WRITE_AHEAD = "rpmdb.sqlite-wal"
LARGEST_DATABASE = 1 << 30  # bytes of one folder: the databases of whole distributions have a tenth of that
MOST_FILES = 100  # in the folder of a database: Berkeley DB has some twenty
LONGEST_NAME = 60  # characters: what is named longer there is no part of a database
# A layer may unpack to so many bytes, and where it is large, to so many times its own: bombs grow a thousandfold.
ALWAYS_ALLOWED, MOST_GROWTH = 8 << 30, 100
LARGEST_WINDOW = 1 << 25  # bytes that zstd may look back: levels up to 19 need a quarter of that
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
ZSTD_SKIPPABLE = b"\x2a\x4d\x18"  # behind a first byte of 0x50 to 0x5f
Opener = Callable[[], AbstractContextManager[IO[bytes]]]
BROKEN = (BrokenArchive, zlib.error, zstandard.ZstdError, EOFError, gzip.BadGzipFile)


class Layer(Struct, frozen=True):
    """What a layer says of RPM databases. Paths have no leading slash.

    `databases` has the RPMs by the folder of their database, or why it cannot be read. `hidden` are paths that lower
    layers have no more, `opaque` are folders of which all that lower layers put into them is gone.
    """

    databases: dict[str, tuple[Rpm, ...] | str]
    hidden: frozenset[str] = frozenset()
    opaque: frozenset[str] = frozenset()


class _Found(Struct):
    """What was seen of a layer so far; `files` has the sizes of the files that were kept, by folder and name.

    `links` has the path of each hard link by that of the file that it stands for, `unknown` the folders of databases
    that cannot be read here.
    """

    place: Path
    hidden: set[str] = field(default_factory=set)
    opaque: set[str] = field(default_factory=set)
    files: dict[str, dict[str, int]] = field(default_factory=dict)
    links: dict[str, set[str]] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)


def read_layer(open_layer: Opener, folders: Sequence[str], of: str, size: int = 0) -> Layer:
    """Read a layer once from its beginning to its end, and keep nothing but the RPM databases for a moment.

    `open_layer` gives the compressed stream, of `size` bytes; it is called again where a database is a hard link to a
    file before it. `folders` are those in which databases may be. Takes some MB of memory, however large the layer is.
    Raises ContentsError for a layer that is no tar archive, or that unpacks to far more than layers do, and what the
    stream itself raises.
    """
    with tempfile.TemporaryDirectory(prefix="rebuilder-layer-") as temporary:
        reading = _Found(Path(temporary))
        try:
            _read(open_layer, folders, reading, max(ALWAYS_ALLOWED, size * MOST_GROWTH))
        except BROKEN as error:
            raise ContentsError(f"a layer of {of} cannot be read: {error}") from None
        reading.unknown.update(posixpath.dirname(path) for paths in reading.links.values() for path in paths)
        counting = [folder for folder, files in reading.files.items() if _counts(files)]
        databases = {folder: _database(reading, folder, of) for folder in counting}
        databases |= dict.fromkeys(reading.unknown, f"the RPM database of {of} is not a plain file")
    return Layer(databases, frozenset(reading.hidden), frozenset(reading.opaque))


def _read(open_layer: Opener, folders: Sequence[str], reading: _Found, limit: int) -> None:
    with open_layer() as stream:
        _scan(TarStream(_plain(stream), limit), folders, reading)
    if reading.links:
        with open_layer() as stream:
            _follow(TarStream(_plain(stream), limit), reading)


def _counts(files: Mapping[str, int]) -> bool:
    """Whether these files of a folder are a database, or change one of a lower layer."""
    return any(name in files for name in rpm_database.DATABASES) or files.get(WRITE_AHEAD, 0) > 0


def _database(reading: _Found, folder: str, of: str) -> tuple[Rpm, ...] | str:
    """The RPMs of the database in the folder, or why it cannot be read."""
    if not any(name in reading.files[folder] for name in rpm_database.DATABASES):
        return f"a layer of {of} has a log of changes to an RPM database alone: what it changes is in a lower layer"
    try:
        return rpm_database.at(reading.place / folder, of)
    except ContentsError as error:
        return str(error)


def _scan(tar: TarStream, folders: Sequence[str], reading: _Found) -> None:
    for member in tar.members():
        path = _normal(member.path)
        folder, name = posixpath.split(path)
        if name.startswith(WHITEOUT):
            _take_away(folder, name, folders, reading)
        elif folder in folders:
            _keep(tar, member, path, reading)
        elif not member.is_folder and _above(path, folders):
            _replace(member, path, folders, reading)


def _take_away(folder: str, name: str, folders: Sequence[str], reading: _Found) -> None:
    if name == OPAQUE:
        if _above(folder, folders):
            reading.opaque.add(folder)
        return
    gone = name.removeprefix(WHITEOUT)
    path = posixpath.join(folder, gone)
    if _above(path, folders) or (folder in folders and gone in rpm_database.DATABASES):
        reading.hidden.add(path)


def _replace(member: Member, path: str, folders: Sequence[str], reading: _Found) -> None:
    """A link or a file stands where lower layers have the folder."""
    reading.hidden.add(path)
    if path in folders and member.is_symbolic_link:
        target = _normal(posixpath.join("/", posixpath.dirname(path), member.target))
        if target not in folders:
            reading.unknown.add(path)  # the database is somewhere else, and was not looked for there


def _keep(tar: TarStream, member: Member, path: str, reading: _Found) -> None:
    folder, name = posixpath.split(path)
    files = reading.files.setdefault(folder, {})
    if len(name) > LONGEST_NAME:
        return
    if len(files) + len(reading.links) > MOST_FILES:
        raise BrokenArchive(f"/{folder} has more than {MOST_FILES} files")
    if member.is_hard_link:
        reading.links.setdefault(_normal(member.target), set()).add(path)
    elif member.is_file and not member.packed:
        _write(tar, member, path, reading)
    elif name in rpm_database.DATABASES:
        reading.unknown.add(folder)


def _follow(tar: TarStream, reading: _Found) -> None:
    """Keep the files that databases are hard links to, under the names of the links."""
    for member in tar.members():
        if member.is_file and not member.packed:
            paths = reading.links.pop(_normal(member.path), set())
            for path in sorted(paths)[:1]:
                _write(tar, member, path, reading)
            for path in sorted(paths)[1:]:
                _copy(reading, sorted(paths)[0], path)


def _copy(reading: _Found, source: str, path: str) -> None:
    folder, name = posixpath.split(path)
    target = reading.place / path
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(reading.place / source, target)
    reading.files.setdefault(folder, {})[name] = target.stat().st_size


def _write(tar: TarStream, member: Member, path: str, reading: _Found) -> None:
    folder, name = posixpath.split(path)
    files = reading.files.setdefault(folder, {})
    files.pop(name, None)
    if sum(files.values()) + member.size > LARGEST_DATABASE:
        raise BrokenArchive(f"/{folder} has more than {LARGEST_DATABASE} bytes")
    files[name] = member.size
    place = reading.place / path
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("wb") as target:
        tar.copy(target)


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
