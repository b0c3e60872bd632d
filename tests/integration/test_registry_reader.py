"""What is in images of registries is read with real skopeo, from real registries, by as few layers as it takes."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import zstandard
from support import registries
from support.authority import Authority
from support.registries import Registry, contents, layer, link, rpms_of, with_rpms
from support.slowness import within

from rebuilder.config import RegistrySettings
from rebuilder.demo.process import LOOPBACK, free_port
from rebuilder.registry.errors import Cause, RegistryError
from rebuilder.registry.proxy import BlobReader
from rebuilder.registry.reader import Contents, RegistryReader

pytestmark = pytest.mark.usefixtures("without_tls")
HERE = "linux/amd64"
OLD, NEW = "openssl-3.2.1-1.fc42", "openssl-3.2.2-1.fc42"
APP = layer({"app/": b"", "app/run": b"#!/bin/sh\n"})


def test_the_digest_of_a_spec_is_that_of_its_manifest(reader: RegistryReader, registry: Registry) -> None:
    pushed = registry.push("digest:42", [APP])
    assert reader.resolve(f"{registry.host}/digest:42").digest == pushed
    assert reader.resolve(f"docker://{registry.host}/digest@{pushed}").digest == pushed


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_the_rpms_are_read_however_the_layer_is_compressed(
    reader: RegistryReader, registry: Registry, compression: str
) -> None:
    registry.push("packed:42", [with_rpms(OLD, "bash-5.2-1.fc42", compression=compression), APP])
    assert rpms_of(reader, registry, "packed:42") == {f"{OLD}.noarch", "bash-5.2-1.fc42.noarch"}


def test_a_berkeley_db_is_read_as_older_distributions_have_it(
    reader: RegistryReader, registry: Registry
) -> None:
    database = registries.berkeley_database((OLD, "bash-5.2-1.fc42"))
    registry.push("berkeley:42", [layer({"var/lib/rpm/Packages": database, "var/lib/rpm/.rpm.lock": b""})])
    assert rpms_of(reader, registry, "berkeley:42") == {f"{OLD}.noarch", "bash-5.2-1.fc42.noarch"}


NDB = (Path(registries.__file__).parent / "ndb/Packages.db").read_bytes()


def test_an_ndb_is_read_as_opensuse_has_it_also_where_rpm_is_built_without_that_kind(
    reader: RegistryReader, registry: Registry
) -> None:
    files = {"Packages.db": NDB, "Index.db": b"x"}
    registry.push("ndb:42", [layer({f"{registries.DATABASE}/{name}": data for name, data in files.items()})])
    assert rpms_of(reader, registry, "ndb:42") == {f"{OLD}.noarch", "bash-5.2-1.fc42.noarch"}


@pytest.mark.parametrize("broken", [
    b"", NDB[:4096], NDB[:-8], NDB[:12] + b"\0\0\0\0" + NDB[16:], NDB[:12] + b"\xff\xff\xff\xff" + NDB[16:],
    NDB.replace(b"Slot", b"Slop", 1), NDB.replace(b"BlbS", b"BlbX", 1), NDB.replace(b"BlbE", b"BlbX", 1),
    NDB[:36] + NDB[52:56] + NDB[40:], NDB.replace(b"RpmP", b"PmpR", 1),
    NDB[:4096] + NDB[4096:4120] + bytes(600) + NDB[4720:],
])  # fmt: skip
def test_what_is_in_an_ndb_that_is_broken_is_unknown_and_told(
    reader: RegistryReader, registry: Registry, broken: bytes
) -> None:
    registry.push("broken-ndb:42", [with_rpms(OLD), layer({f"{registries.DATABASE}/Packages.db": broken})])
    found = contents(reader, registry, "broken-ndb:42")
    assert found.rpms is None and "cannot be read" in found.origin, found


def test_a_layer_of_several_gzip_members_or_zstd_frames_is_read_to_its_end(
    reader: RegistryReader, registry: Registry
) -> None:
    whole = registries.plain(with_rpms(OLD))
    parts = whole[:1000], whole[1000:]
    registry.push("members:42", [b"".join(gzip.compress(part) for part in parts)])
    registry.push("frames:42", [b"".join(zstandard.compress(part) for part in parts)])
    assert rpms_of(reader, registry, "members:42") == rpms_of(reader, registry, "frames:42") == {f"{OLD}.noarch"}


def test_of_several_databases_the_uppermost_counts(reader: RegistryReader, registry: Registry) -> None:
    registry.push("upper:42", [with_rpms(OLD), APP, with_rpms(NEW), layer({"etc/x": b""})])
    assert rpms_of(reader, registry, "upper:42") == {f"{NEW}.noarch"}


OLD_PLACE = "var/lib/rpm"
GONE = {
    "its file": {f"{OLD_PLACE}/.wh.rpmdb.sqlite": b""},
    "its folder": {"var/lib/.wh.rpm": b""},
    "a folder above it": {".wh.var": b""},
    "all that was in its folder": {f"{OLD_PLACE}/.wh..wh..opq": b""},
    "all that was in a folder above it": {"var/.wh..wh..opq": b""},
    "a link in place of its folder": {OLD_PLACE: link(OLD_PLACE, "../../usr/lib/sysimage/rpm")},
}


@pytest.mark.parametrize("how", GONE)
def test_a_database_that_an_upper_layer_takes_away_does_not_count(
    reader: RegistryReader, registry: Registry, how: str
) -> None:
    gone = layer(GONE[how])  # type: ignore[arg-type]
    registry.push("moved:42", [with_rpms(NEW), with_rpms(OLD, folder=OLD_PLACE), gone])
    assert rpms_of(reader, registry, "moved:42") == {f"{NEW}.noarch"}
    registry.push("removed:42", [with_rpms(OLD, folder=OLD_PLACE), gone])
    assert contents(reader, registry, "removed:42") == Contents(None, "removed")


def test_what_is_made_anew_above_a_folder_that_was_emptied_counts(reader: RegistryReader, registry: Registry) -> None:
    anew = {f"{registries.DATABASE}/.wh..wh..opq": b"", **{
        f"{registries.DATABASE}/{name}": data for name, data in registries.rpm_database((NEW,)).items()}}
    registry.push("anew:42", [with_rpms(OLD), layer(anew), layer({"etc/.wh.x": b""})])
    assert rpms_of(reader, registry, "anew:42") == {f"{NEW}.noarch"}


def test_a_database_that_is_a_hard_link_is_followed(reader: RegistryReader, registry: Registry) -> None:
    data = registries.rpm_database((OLD,))["rpmdb.sqlite"]
    place = "usr/share/rpm/rpmdb.sqlite"
    registry.push("linked:42", [layer({"sysroot/objects/ab.file": data,
                                       place: link(place, "sysroot/objects/ab.file", tarfile.LNKTYPE)})])
    assert rpms_of(reader, registry, "linked:42") == {f"{OLD}.noarch"}


def test_an_image_without_rpms_has_none_and_one_whose_database_is_broken_is_unknown(
    reader: RegistryReader, registry: Registry
) -> None:
    registry.push("plain:42", [APP])
    registry.push("broken:42", [with_rpms(OLD), layer({f"{registries.DATABASE}/rpmdb.sqlite": b"no database" * 999})])
    registry.push("foreign:42", [layer({f"{registries.DATABASE}/Packages.db": b"RpmP" + b"\0" * 4096})])
    registry.push("log:42", [with_rpms(OLD), layer({f"{registries.DATABASE}/rpmdb.sqlite-wal": b"changes"})])
    registry.push("no-tar:42", [with_rpms(OLD), gzip.compress(b"this is no archive" * 100)])
    assert contents(reader, registry, "plain:42") == Contents((), "none")
    for name in ("broken", "foreign", "log", "no-tar"):
        found = contents(reader, registry, f"{name}:42")
        assert found.rpms is None and f"{registry.host}/{name}@sha256:" in found.origin, (name, found)


@pytest.mark.parametrize("docker", [False, True])
def test_each_platform_of_a_list_has_its_own_rpms(reader: RegistryReader, registry: Registry, docker: bool) -> None:
    digests = {
        "linux/amd64": registry.push("all:a", [with_rpms(NEW)], docker=docker),
        "linux/arm64/v8": registry.push("all:b", [with_rpms(OLD)], docker=docker, arch="arm64"),
    }
    of_list = registry.push_list("all:42", digests, docker=docker)
    assert reader.resolve(f"{registry.host}/all:42").digest == of_list
    assert rpms_of(reader, registry, "all:42", "linux/amd64") == {f"{NEW}.noarch"}
    assert rpms_of(reader, registry, "all:42", "linux/arm64") == {f"{OLD}.noarch"}
    assert rpms_of(reader, registry, "all:42", "linux/s390x") is None


def test_layers_that_were_read_before_are_not_fetched_again(reader: RegistryReader, registry: Registry) -> None:
    registry.push("first:42", [with_rpms(OLD), layer({"first": b""})])
    registry.push("second:42", [with_rpms(OLD), layer({"second": b""})])
    registry.push("third:42", [with_rpms(OLD), with_rpms(NEW), layer({"third": b""})])
    contents(reader, registry, "first:42")
    contents(reader, registry, "second:42")
    contents(reader, registry, "second:42")
    contents(reader, registry, "third:42")
    fetched = [len(registry.requests(f"/v2/{name}/blobs/")) for name in ("first", "second", "third")]
    assert fetched == [2, 1, 2]


def test_a_base_of_ten_layers_is_read_in_three_seconds_and_again_in_a_tenth(
    reader: RegistryReader, registry: Registry
) -> None:
    registry.push("ten:42", [with_rpms(OLD), *(layer({f"layer-{n}": b"x" * 100_000}) for n in range(9))])
    began = time.monotonic()
    image = reader.resolve(f"{registry.host}/ten:42")
    first = reader.contents(image, HERE)
    read = time.monotonic()
    assert reader.contents(image, HERE) == first
    again = time.monotonic() - read
    assert (read - began < within(3), again < within(0.1)) == (True, True)


MEASURED = """
import sys
from pathlib import Path
from rebuilder.config import RegistrySettings
from rebuilder.registry.proxy import BlobReader
from rebuilder.registry.reader import RegistryReader
def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
reader = RegistryReader(RegistrySettings(), Path(sys.argv[2]))
reader.contents(reader.resolve(sys.argv[1] + "/small:42"), "linux/amd64")
before = peak()
print(*reader.contents(reader.resolve(sys.argv[1] + "/large:42"), "linux/amd64").rpms, peak() - before)
"""


def test_a_layer_of_2_gb_above_the_database_takes_no_memory_and_is_not_kept(registry: Registry, tmp_path: Path) -> None:
    registry.push("small:42", [with_rpms(OLD)])
    registry.push("large:42", [with_rpms(NEW), large_layer(2 << 30)], rootfs={})
    command = [sys.executable, "-c", MEASURED, registry.host, str(tmp_path / "layers")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rpm, grown = done.stdout.split()
    assert rpm == f"{NEW}.noarch"
    assert float(grown) < 64
    assert sum(file.stat().st_size for file in (tmp_path / "layers").rglob("*") if file.is_file()) < 100_000


def large_layer(size: int) -> bytes:
    """A layer with one file of so many bytes, and 20,000 small ones."""
    packer = zstandard.ZstdCompressor(level=1).compressobj()
    head = tarfile.TarInfo("large")
    head.size = size
    packed = [packer.compress(head.tobuf())]
    packed += [packer.compress(bytes(1 << 20)) for _ in range(size >> 20)]
    packed += [packer.compress(tarfile.TarInfo(f"small/{n}").tobuf()) for n in range(20_000)]
    return b"".join([*packed, packer.compress(bytes(1024)), packer.flush()])


# ── What goes wrong is an infrastructure error that says what to do ─────────────────────────────────────────────────


def refused(reader: RegistryReader, spec: str) -> RegistryError:
    with pytest.raises(RegistryError) as caught:
        reader.resolve(spec)
    return caught.value


def test_a_registry_that_is_down_and_a_tag_that_vanished_are_told_apart(
    reader: RegistryReader, registry: Registry
) -> None:
    digest = registry.push("vanishing:42", [APP])
    spec = f"{registry.host}/vanishing:42"
    assert reader.resolve(spec).digest == digest
    registry.delete("vanishing", digest)
    assert refused(reader, spec).cause is Cause.MISSING
    assert refused(reader, f"{registry.host}/never/was:42").cause is Cause.MISSING
    down = refused(reader, f"{LOOPBACK}:{free_port()}/base:42")
    assert (down.cause, "cannot be reached" in str(down)) == (Cause.UNREACHABLE, True)


def test_a_registry_that_wants_a_login_is_asked_with_that_of_auth_json(
    tmp_path: Path, reader: RegistryReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    with registries.private(tmp_path / "private") as private:
        monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(registries.insecure(tmp_path, private.host)))
        private.push("base:42", [with_rpms(OLD)])
        error = refused(reader, f"{private.host}/base:42")
        assert error.cause is Cause.LOGIN
        assert f"skopeo login {private.host}" in str(error)
        (tmp_path / "auth.json").write_text(registries.logins({private.host: "builder:secret"}))
        assert rpms_of(reader, private, "base:42") == {f"{OLD}.noarch"}


def test_a_certificate_that_is_not_trusted_is_told(
    tmp_path: Path, reader: RegistryReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = str(Authority(tmp_path).issue("server"))
    tls = {"http": {"tls": {"certificate": certificate, "key": certificate}}}
    monkeypatch.delenv("CONTAINERS_REGISTRIES_CONF")
    with registries.registry(tmp_path / "foreign", more=tls, scheme="https") as foreign:
        error = refused(reader, f"{foreign.host}/base:42")
    assert (error.cause, f"certs.d/{foreign.host}" in str(error)) == (Cause.CERTIFICATE, True)


@pytest.mark.parametrize(("status", "pause", "cause"), [(429, 0, Cause.BUSY), (503, 0, Cause.UNREACHABLE),
                                                        (200, 30, Cause.SLOW)])  # fmt: skip
def test_a_registry_that_is_busy_broken_or_slow_is_told_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, pause: float, cause: Cause
) -> None:
    with stubborn(status, pause) as host:
        monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(registries.insecure(tmp_path, host)))
        began = time.monotonic()
        error = refused(RegistryReader(RegistrySettings(call_seconds=1.5), tmp_path), f"{host}/base:42")
    assert (error.cause, time.monotonic() - began < within(5)) == (cause, True), str(error)


@pytest.mark.parametrize("broken", [lambda whole: whole[: len(whole) // 2], lambda whole: whole + bytes(20 << 20)])
def test_a_layer_that_breaks_off_or_does_not_end_is_no_fault_of_the_image(
    reader: RegistryReader, registry: Registry, broken: Callable[[bytes], bytes]
) -> None:
    registry.push("cut:42", [with_rpms(OLD)])
    image = reader.resolve(f"{registry.host}/cut:42")
    blob = image.document.layers[0].digest.partition(":")[2]
    stored = next((registry.folder / "docker").rglob(f"{blob}/data"))
    whole = stored.read_bytes()
    stored.write_bytes(broken(whole))
    try:
        with pytest.raises(RegistryError):
            reader.contents(image, HERE)
    finally:
        stored.write_bytes(whole)
    assert rpms_of(reader, registry, "cut:42") == {f"{OLD}.noarch"}


def test_a_blob_that_comes_by_drops_is_given_up() -> None:
    ours, theirs = os.pipe()

    def drip() -> None:
        for _ in range(20):
            os.write(theirs, b"x")
            time.sleep(0.05)

    drops = Thread(target=drip)
    drops.start()
    with pytest.raises(RegistryError, match="too slowly"), BlobReader(ours, "quay.io/x/y", 0.2, 1000) as reader:
        while reader.read(1):
            pass
    drops.join()
    os.close(ours)
    os.close(theirs)


def stubborn(status: int, pause: float):  # type: ignore[no-untyped-def]
    """A server that gives the same answer to everything, after a pause."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if "/manifests/" in self.path:
                time.sleep(pause)
                self.send_response(status)
            else:
                self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False

    class Running:
        def __enter__(self) -> str:
            Thread(target=server.serve_forever, daemon=True).start()
            return f"{LOOPBACK}:{server.server_port}"

        def __exit__(self, *_: object) -> None:
            server.shutdown()
            server.server_close()

    return Running()
