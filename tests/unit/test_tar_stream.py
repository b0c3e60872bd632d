"""Layers that somebody made to do harm, or that no tool makes: they are read in bounded memory and time, or refused."""

from __future__ import annotations

import gzip
import io
import tarfile
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from typing import IO

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from rebuilder.registry import layer
from rebuilder.registry.errors import ContentsError
from rebuilder.registry.layer import Layer, read_layer
from rebuilder.registry.tar_stream import BrokenArchive, Member, TarStream

FOLDERS = ("usr/lib/sysimage/rpm", "var/lib/rpm")
PLACE = "var/lib/rpm"
MB = 1 << 20
END = bytes(1024)


class Pieces(io.RawIOBase):
    """A stream of what an iterator gives, piece by piece: none of it is there before it is read."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        while not self._rest:
            found = next(self._pieces, None)
            if found is None:
                return 0
            self._rest = found
        taken = min(len(buffer), len(self._rest))
        buffer[:taken], self._rest = self._rest[:taken], self._rest[taken:]
        return taken


def stream(pieces: Iterator[bytes]) -> IO[bytes]:
    return io.BufferedReader(Pieces(pieces), MB)


def header(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, target: str = "") -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, target
    return info.tobuf(tarfile.GNU_FORMAT)


def changed(raw: bytes, at: int, data: bytes) -> bytes:
    """The header with these bytes, and a checksum that is right."""
    block = bytearray(raw)
    block[at : at + len(data)] = data
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def attributes(**values: str) -> bytes:
    return tarfile.TarInfo._create_pax_generic_header(values, tarfile.XHDTYPE, "utf-8")  # type: ignore[attr-defined]


def of_files(*paths: str) -> bytes:
    return b"".join(map(header, paths)) + END


def endless(kind: bytes) -> Iterator[bytes]:
    yield header("x", 300 * MB, kind)
    yield from (b"a" * MB for _ in range(300))
    yield END


def holes() -> Iterator[bytes]:
    yield changed(header("x", kind=tarfile.GNUTYPE_SPARSE), 482, b"\x01")
    more = bytes(504) + b"\x01" + bytes(7)
    yield from (more * 2048 for _ in range(300))


def bomb() -> Iterator[bytes]:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    yield packer.compress(header("x", 300 * MB))
    yield from (packer.compress(bytes(MB)) for _ in range(300))
    yield packer.compress(END) + packer.flush()


def wide() -> Iterator[bytes]:
    parameters = zstandard.ZstdCompressionParameters(window_log=27)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    yield packer.compress(header("x", 9 * MB) + bytes(9 * MB) + END) + packer.flush()


HOSTILE: dict[str, Callable[[], Iterator[bytes]]] = {
    "a name without end": lambda: endless(tarfile.GNUTYPE_LONGNAME),
    "a link's target without end": lambda: endless(tarfile.GNUTYPE_LONGLINK),
    "attributes without end": lambda: endless(tarfile.XHDTYPE),
    "holes without end": holes,
    "a size beyond all disks": lambda: iter([header("x", 1 << 60), b"x"]),
    "a size beyond all disks in its attributes": lambda: iter([attributes(size=str(1 << 62)), of_files("x")]),
    "a size that is no number": lambda: iter([attributes(size="-5"), of_files("x")]),
    "a size below nothing": lambda: iter([changed(header("x"), 124, b"\xff" * 12), END]),
    "a database beyond all disks": lambda: iter([header(f"{PLACE}/rpmdb.sqlite", 5 << 30), b"x"]),
    "a database that ends in its midst": lambda: iter([header(f"{PLACE}/rpmdb.sqlite", 5000), b"x"]),
    "attributes that lie about their length": lambda: iter([header("x", 512, tarfile.XHDTYPE), b"999 path=y\n" * 46]),
    "files without end where the database is": lambda: iter([of_files(*(f"{PLACE}/{n}" for n in range(999)))]),
    "links without end where the database is": lambda: iter(
        [header(f"{PLACE}/{n}", kind=tarfile.LNKTYPE, target=f"x{n}") for n in range(999)]),
    "contents that grow a thousandfold": bomb,
    "a compression that looks back 128 MB": wide,
    "no archive": lambda: iter([b"this is no archive" * 100]),
    "a header of which a bit has changed": lambda: iter([header("x"), b"y" + header("x")[1:], END]),
    "nothing": lambda: iter(()),
}  # fmt: skip


def read(pieces: Callable[[], Iterator[bytes]], size: int = 0) -> Layer:
    return read_layer(lambda: nullcontext(stream(pieces())), FOLDERS, "an image", size)


@pytest.mark.parametrize("how", HOSTILE)
def test_what_is_made_to_do_harm_is_refused_in_little_memory(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer, "ALWAYS_ALLOWED", 100 * MB)
    tracemalloc.start()
    try:
        with pytest.raises(ContentsError, match="a layer of an image cannot be read"):
            read(HOSTILE[how])
        assert tracemalloc.get_traced_memory()[1] < 32 * MB
    finally:
        tracemalloc.stop()


def test_a_layer_that_is_large_by_itself_may_be_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer, "ALWAYS_ALLOWED", MB)
    assert read(bomb, size=4 * MB) == Layer({})


WHITEOUTS = {f"{PLACE}/.wh.{n}" for n in range(5000)}
UNKNOWN = {
    "a link to a folder that is not looked at": header(PLACE, kind=tarfile.SYMTYPE, target="../../opt/rpm"),
    "a database that is a symbolic link": header(f"{PLACE}/rpmdb.sqlite", kind=tarfile.SYMTYPE, target="/opt/db"),
    "a hard link to a file of another layer": header(f"{PLACE}/rpmdb.sqlite", kind=tarfile.LNKTYPE, target="opt/db"),
    "a database with holes": changed(header(f"{PLACE}/rpmdb.sqlite", kind=tarfile.GNUTYPE_SPARSE), 482, b"\0"),
    "a database with holes, by attributes": attributes(**{
        "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": f"{PLACE}/Packages",
        "GNU.sparse.realsize": str(1 << 50)}) + header("GNUSparseFile.1/x", 512) + b"1\n0\n9999999\n" + bytes(500),
}  # fmt: skip


@pytest.mark.parametrize("how", UNKNOWN)
def test_a_database_that_cannot_be_read_from_the_layer_is_unknown_and_not_that_of_a_lower_one(how: str) -> None:
    (found,) = read(lambda: iter([UNKNOWN[how], END])).databases.items()
    assert found[0] == PLACE and "is not a plain file" in found[1]


def test_links_between_the_folders_of_databases_and_whiteouts_are_no_database() -> None:
    place = header(PLACE, kind=tarfile.SYMTYPE, target="../../usr/lib/sysimage/rpm")
    assert read(lambda: iter([place, END])) == Layer({}, frozenset({PLACE}))
    assert read(lambda: iter([of_files(*WHITEOUTS, f"{PLACE}/.wh.Packages")])) == Layer(
        {}, frozenset({f"{PLACE}/Packages"})
    )


def test_names_that_lead_elsewhere_or_are_none_are_kept_nowhere() -> None:
    names = ("../../../../tmp/x", f"{PLACE}/../../../x", f"/{PLACE}/{'y' * 200}", f"{PLACE}/{'y' * 70}", "var/lib")
    assert read(lambda: iter([attributes(path=f"{PLACE}/a\0b"), of_files("x", *names)])).databases == {}


# ── It reads what tarfile reads ─────────────────────────────────────────────────────────────────────────────────────

names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=300).map(
    lambda text: f"x{text.strip('/')}"
)
members = st.lists(st.tuples(names, st.binary(max_size=1500)), max_size=6)


def archive(files: list[tuple[str, bytes]], form: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def unpacked(raw: bytes) -> list[tuple[Member, bytes]]:
    tar, found = TarStream(io.BytesIO(raw), len(raw)), []
    for member in tar.members():
        target = io.BytesIO()
        tar.copy(target)
        found.append((member, target.getvalue()))
    return found


@given(members, st.sampled_from((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)))
def test_every_file_is_read_with_its_name_and_contents(files: list[tuple[str, bytes]], form: int) -> None:
    assert [(member.path, data) for member, data in unpacked(archive(files, form))] == files


@given(members, st.sampled_from((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)), st.data())
def test_whatever_bits_change_it_is_read_or_refused(
    files: list[tuple[str, bytes]], form: int, data: st.DataObject
) -> None:
    raw = bytearray(archive(files, form)[:6000])
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with suppress(BrokenArchive):
        unpacked(bytes(raw))


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress, bytes])
def test_a_layer_is_read_however_it_is_compressed_and_may_end_without_a_mark(pack: Callable[[bytes], bytes]) -> None:
    whole = pack(of_files(f"{PLACE}/.wh.Packages").removesuffix(END))
    assert read(lambda: iter([whole])).hidden == {f"{PLACE}/Packages"}
