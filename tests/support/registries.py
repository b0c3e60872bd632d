"""A real registry on a free port, and images pushed into it layer by layer, of whatever shape a test needs."""

from __future__ import annotations

import base64
import crypt
import gzip
import hashlib
import io
import json
import os
import shutil
import sqlite3
import struct
import subprocess
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import zstandard
from msgspec import Struct, field

from rebuilder.demo import rpms
from rebuilder.demo.process import LOOPBACK, Child, accepts, free_port
from rebuilder.demo.registry import program
from rebuilder.demo.rpms import SourcePackage
from rebuilder.registry.reader import Contents, RegistryReader
from support import servers

HERE = "linux/amd64"
OCI = "application/vnd.oci.image"
DOCKER = "application/vnd.docker"
MANIFEST, INDEX = f"{OCI}.manifest.v1+json", f"{OCI}.index.v1+json"
SCHEMA2, LIST = f"{DOCKER}.distribution.manifest.v2+json", f"{DOCKER}.distribution.manifest.list.v2+json"
DATABASE = "usr/lib/sysimage/rpm"
PATIENCE = 30.0


class Registry(Struct):
    """One docker-registry. `more` is added to its configuration, as for a login or for TLS."""

    folder: Path
    more: Mapping[str, object] = field(default_factory=dict)
    scheme: str = "http"
    port: int = field(default_factory=free_port)
    user: tuple[str, str] | None = None
    server: Child | None = None

    @property
    def host(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder / "registry.log"

    def start(self) -> None:
        servers.need("registry", program(), "skopeo")
        self.folder.mkdir(parents=True, exist_ok=True)
        configuration = {
            "version": 0.1, "log": {"level": "warn"}, "storage": {"filesystem": {"rootdirectory": str(self.folder)},
                                                                  "delete": {"enabled": True}}, **self.more,
            "http": {"addr": self.host, **self.more.get("http", {})},  # type: ignore[dict-item]
        }  # fmt: skip
        file = self.folder / "config.yml"
        file.write_text(json.dumps(configuration))
        # It would take variables that begin so, as skopeo's REGISTRY_AUTH_FILE, for its own configuration.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
        self.server = Child([program(), "serve", str(file)], self.log, environment=environment)
        self.server.wait_for(lambda: accepts(self.port), PATIENCE)

    def stop(self) -> None:
        if self.server is not None:
            self.server.stop()
            self.server = None

    def requests(self, part: str = "/manifests/") -> list[str]:
        """What was read so far whose path has this part, as `GET /v2/base/manifests/42`."""
        lines = self.log.read_text(errors="replace").splitlines()
        said = [line.split('"')[1].rpartition(" ")[0] for line in lines if line.startswith(LOOPBACK) and '"' in line]
        return [request for request in said if part in request and request.startswith(("GET", "HEAD"))]

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=f"{self.scheme}://{self.host}/v2/", verify=False, auth=self.user, timeout=60)

    def blob(self, repository: str, data: bytes) -> str:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        with self.client() as client:
            begun = client.post(f"{repository}/blobs/uploads/").raise_for_status()
            there = httpx.URL(begun.headers["location"]).copy_add_param("digest", digest)
            client.put(there, content=data).raise_for_status()
        return digest

    def put(self, repository: str, tag: str, document: Mapping[str, object]) -> str:
        """Push a manifest under a tag, or under its own digest where `tag` is empty; its digest."""
        raw = json.dumps(document).encode()
        digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
        headers = {"content-type": str(document["mediaType"])}
        with self.client() as client:
            client.put(f"{repository}/manifests/{tag or digest}", content=raw, headers=headers).raise_for_status()
        return digest

    def push(
        self, spec: str, layers: Sequence[bytes], *, docker: bool = False, arch: str = "amd64", **more: object
    ) -> str:
        """Push an image of these compressed layers as `repository:tag`, the lowest first; its digest.

        `more` is added to its configuration, as `rootfs` where the layers are too large to be looked into.
        """
        repository, _, tag = spec.partition(":")
        kind = f"{DOCKER}.image.rootfs.diff.tar.gzip" if docker else f"{OCI}.layer.v1.tar+gzip"
        described = [{"mediaType": kind, "size": len(data), "digest": self.blob(repository, data)} for data in layers]
        config = json.dumps({
            "architecture": arch, "os": "linux", "config": {},
            **({} if "rootfs" in more else {"rootfs": rootfs(layers)}), **more,
        }).encode()  # fmt: skip
        config_kind = f"{DOCKER}.container.image.v1+json" if docker else f"{OCI}.config.v1+json"
        return self.put(repository, tag, {
            "schemaVersion": 2, "mediaType": SCHEMA2 if docker else MANIFEST, "layers": described,
            "config": {"mediaType": config_kind, "size": len(config), "digest": self.blob(repository, config)},
        })  # fmt: skip

    def push_list(self, spec: str, platforms: Mapping[str, str], *, docker: bool = False) -> str:
        """Push a list of images that are there already: their digests by `os/architecture[/variant]`."""
        repository, _, tag = spec.partition(":")
        entries = []
        for name, digest in platforms.items():
            system, architecture, variant = (*name.split("/"), "")[:3]
            platform = {"os": system, "architecture": architecture} | ({"variant": variant} if variant else {})
            size = self.size(repository, digest)
            entries.append({"mediaType": SCHEMA2 if docker else MANIFEST, "digest": digest, "size": size,
                            "platform": platform})  # fmt: skip
        kind = LIST if docker else INDEX
        return self.put(repository, tag, {"schemaVersion": 2, "mediaType": kind, "manifests": entries})

    def size(self, repository: str, digest: str) -> int:
        accepted = {"accept": ", ".join((MANIFEST, INDEX, SCHEMA2, LIST))}
        with self.client() as client:
            return len(client.get(f"{repository}/manifests/{digest}", headers=accepted).raise_for_status().content)

    def delete(self, repository: str, digest: str) -> None:
        with self.client() as client:
            client.delete(f"{repository}/manifests/{digest}").raise_for_status()


@contextmanager
def registry(folder: Path, **more: object) -> Iterator[Registry]:
    made = Registry(folder, **more)  # type: ignore[arg-type]
    try:
        made.start()
        yield made
    finally:
        made.stop()


@contextmanager
def private(folder: Path, user: str = "builder") -> Iterator[Registry]:
    """A registry that only this user may ask, with the password `secret`."""
    folder.mkdir()
    hashed = crypt.crypt("secret", crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16))
    passwords = folder / "htpasswd"
    passwords.write_text(f"{user}:{hashed}\n")
    more = {"auth": {"htpasswd": {"realm": "tests", "path": str(passwords)}}}
    with registry(folder, more=more, user=(user, "secret")) as made:
        yield made


def logins(places: Mapping[str, str]) -> str:
    """An auth.json with the `user:password` for each of these places: registries, or repositories of them."""
    auths = {place: {"auth": base64.b64encode(pair.encode()).decode()} for place, pair in places.items()}
    return json.dumps({"auths": auths})


def insecure(folder: Path, *hosts: str) -> Path:
    """A registries.conf by which these registries are asked without TLS."""
    file = folder / "registries.conf"
    file.write_text("".join(f'[[registry]]\nlocation = "{host}"\ninsecure = true\n' for host in hosts))
    return file


def sha(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def rootfs(layers: Sequence[bytes]) -> dict[str, object]:
    return {"type": "layers", "diff_ids": [sha(plain(data)) for data in layers]}


def archive(files: Mapping[str, bytes | tarfile.TarInfo]) -> bytes:
    """A tar archive of these files; a path that ends in / is a folder."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, data in files.items():
            if isinstance(data, tarfile.TarInfo):
                tar.addfile(data)
                continue
            info = tarfile.TarInfo(path.rstrip("/"))
            info.type = tarfile.DIRTYPE if path.endswith("/") else tarfile.REGTYPE
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def link(path: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(path)
    info.type, info.linkname = kind, target
    return info


def layer(files: Mapping[str, bytes | tarfile.TarInfo], compression: str = "gzip") -> bytes:
    data = archive(files)
    if compression == "zstd":
        return zstandard.compress(data)
    return gzip.compress(data, mtime=0) if compression == "gzip" else data


def plain(data: bytes) -> bytes:
    if data.startswith(b"\x1f\x8b"):
        return gzip.decompress(data)
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return data


@cache
def rpm_database(nvrs: tuple[str, ...], backend: str = "sqlite") -> dict[str, bytes]:
    """The files of a real RPM database in which these `name-version-release` are installed, of real RPMs."""
    servers.need("rpm", "rpm", "rpmbuild")
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        files: list[Path] = []
        for nvr in nvrs:
            name, version, release = nvr.rsplit("-", 2)
            files += rpms.make(SourcePackage(name, version, release, (name,)), folder / "rpms", folder / "work")
        place = folder / "database"
        define = ["--dbpath", str(place), "--define", f"_db_backend {backend}"]
        command = ["rpm", *define, "-i", "--justdb", "--nodeps", "--noscripts", "--force-debian", "--nosignature"]
        subprocess.run([*command, *map(str, files)], check=True, capture_output=True)
        return {file.name: file.read_bytes() for file in place.iterdir() if not file.name.startswith(".")}


@cache
def berkeley_database(nvrs: tuple[str, ...]) -> bytes:
    """The file Packages of a Berkeley DB, as rpm before 4.16 wrote it: number 0 counts, each other has a header.

    This machine's rpm can only read such: the headers are those of its own database, loaded with Berkeley's own tool.
    """
    load = "db_load" if shutil.which("db_load") else "db5.3_load"  # Fedora's and Debian's
    servers.need("rpm", load)
    with TemporaryDirectory() as folder:
        there, made = Path(folder) / "rpmdb.sqlite", Path(folder) / "Packages"
        there.write_bytes(rpm_database(nvrs)["rpmdb.sqlite"])
        with closing(sqlite3.connect(there)) as connection:
            rows = connection.execute("SELECT hnum, blob FROM Packages").fetchall()
        pairs = [(0, struct.pack("=I", len(rows))), *rows]
        lines = [f" {data.hex()}" for number, header in pairs for data in (struct.pack("=I", number), header)]
        head = ["VERSION=3", "format=bytevalue", "type=hash", "db_pagesize=4096", "HEADER=END"]
        text = "\n".join([*head, *lines, "DATA=END", ""])
        subprocess.run([load, "-f", "/dev/stdin", str(made)], input=text, text=True, check=True)
        return made.read_bytes()


def with_rpms(*nvrs: str, folder: str = DATABASE, backend: str = "sqlite", compression: str = "gzip") -> bytes:
    """A layer with the RPM database of an image in which these are installed."""
    files = rpm_database(nvrs, backend)
    return layer({f"{folder}/{name}": data for name, data in files.items()}, compression)


def named(rpms_found: Iterable[object]) -> set[str]:
    return {str(rpm) for rpm in rpms_found}


def contents(reader: RegistryReader, registry: Registry, spec: str, platform: str = HERE) -> Contents:
    """What the reader finds in an image of the registry."""
    return reader.contents(reader.resolve(f"{registry.host}/{spec}"), platform)


def rpms_of(reader: RegistryReader, registry: Registry, spec: str, platform: str = HERE) -> set[str] | None:
    """The names of the RPMs in an image of the registry; None where they are unknown."""
    found = contents(reader, registry, spec, platform)
    return None if found.rpms is None else named(found.rpms)
