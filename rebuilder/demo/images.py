"""The demonstration's images: four levels on a base of others, two branches, and some that must be left alone."""

from __future__ import annotations

from pathlib import Path

from rebuilder.demo import rootfs
from rebuilder.demo.rpms import SourcePackage

STREAM = "f42"
OLD = SourcePackage("openssl", "3.2.1", "1.fc42", ("openssl", "openssl-libs"), epoch=1)
NEW = SourcePackage("openssl", "3.2.2", "1.fc42", ("openssl", "openssl-libs"), epoch=1)
OTHERS = tuple(
    SourcePackage(name, version, "1.fc42", (name,))
    for name, version in (("tzdata", "2026a"), ("httpd", "2.4.62"), ("python3", "3.13.1"), ("zlib", "1.3.1"))
)
BASE_NAME = "base"
BASE = "FROM scratch\nCOPY rootfs/ /\nRUN install-rpm tzdata openssl-libs\n"
CONTAINERFILES = {  # {base} is the repository of the base image
    "runtime": "FROM {base}:f42\nRUN install-rpm zlib\n",
    "minimal": "ARG VERSION=f42\nFROM {base}:${VERSION}\nRUN install-rpm zlib\n",
    "tools": "FROM {base}:f42\nRUN install-rpm httpd zlib\n",
    "httpd": "FROM runtime\nRUN install-rpm httpd\n",
    "python": "FROM minimal\nRUN install-rpm python3\n",
    "webapp": (
        "FROM tools AS builder\nRUN echo made-with-tools > /artifact\n"
        "FROM localhost/httpd:f42\nCOPY --from=builder /artifact /srv/artifact\n"
    ),
    "api": "FROM python\nRUN echo api > /srv-api\n",
    "static": "FROM scratch\nCOPY rootfs/ /\nRUN install-rpm tzdata\n",
    "fresh": "FROM scratch\nCOPY rootfs/ /\nRUN install-rpm openssl-libs\n",
}
CURRENT = "fresh"
UNAFFECTED = frozenset({"static", CURRENT})


def texts(base: str) -> dict[str, str]:
    """The Containerfile of each of our images, on the base in this repository."""
    return {name: text.replace("{base}", base) for name, text in CONTAINERFILES.items()}


def write(folder: Path, theirs: Path, base: str) -> None:
    """Write the tree of our Containerfiles, and that of the base, which is not ours, into a folder of its owners.

    Beside those that begin from nothing is the root file system.
    """
    root = folder.parent / "rootfs"
    rootfs.make(root)
    _write(theirs, BASE, root)
    for name, text in texts(base).items():
        _write(folder / name, text, root)


def _write(place: Path, text: str, root: Path) -> None:
    place.mkdir(parents=True)
    (place / "Containerfile").write_text(text)
    if "COPY rootfs/" in text:
        rootfs.copy(root, place / "rootfs")
