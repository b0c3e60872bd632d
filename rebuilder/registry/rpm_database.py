"""RPM databases in a folder, whatever their kind: rpm itself reads them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from rebuilder.domain.errors import RequestError
from rebuilder.domain.rpm import Rpm
from rebuilder.domain.wording import last_line
from rebuilder.registry.errors import ContentsError
from rebuilder.registry.program import ask

QUERY = r"%{NAME}\t%{EPOCHNUM}\t%{VERSION}\t%{RELEASE}\t%{ARCH}\t%{SOURCERPM}\n"
DATABASES = ("rpmdb.sqlite", "Packages.db", "Packages")  # sqlite, ndb, Berkeley DB
CALL_SECONDS = 300


class RpmError(RequestError):
    """rpm is missing, or does not end."""


def read(options: Sequence[str], of: str) -> Iterator[Rpm]:
    """Every RPM of the database that the options (--root, --dbpath) name; `of` says in errors whose it is.

    Raises ContentsError where it cannot be read, and RpmError where rpm cannot do it.
    """
    if shutil.which("rpm") is None:
        raise RpmError("rpm is not installed")
    done = ask(["rpm", *options, "-qa", "--qf", QUERY], CALL_SECONDS, RpmError)
    if done.returncode or "error:" in done.stderr:
        told = last_line(done.stderr) or "rpm exited without output"
        raise ContentsError(f"the RPM database of {of} cannot be read: {told}")
    for line in done.stdout.splitlines():
        if not line.startswith("gpg-pubkey\t"):
            yield _rpm(line, of)


def at(folder: Path, of: str) -> tuple[Rpm, ...]:
    """Every RPM of the database in this folder, which is ours. Raises as `read`.

    An rpm that was built without a kind of database does not fail: it makes an empty one of its own kind beside it.
    """
    there = {name for name in DATABASES if (folder / name).exists()}
    found = tuple(read(("--dbpath", str(folder)), of))
    if made := {name for name in DATABASES if (folder / name).exists()} - there:
        raise ContentsError(f"{', '.join(sorted(there - made))} of {of}: this machine's rpm cannot read that kind")
    return found


def _rpm(line: str, of: str) -> Rpm:
    try:
        name, epoch, version, release, arch, source = line.split("\t")
        origin = source if source.endswith(".src.rpm") else ""
        return Rpm.parse(f"{name}-{epoch}:{version}-{release}.{arch}", origin)
    except ValueError as error:
        raise ContentsError(f"the RPM database of {of} cannot be read: {error}") from None
