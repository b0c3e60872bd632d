"""RPM databases in a folder, whatever their kind: rpm itself reads them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from rebuilder.domain.errors import RequestError
from rebuilder.domain.rpm import Rpm
from rebuilder.domain.wording import last_line
from rebuilder.registry import ndb
from rebuilder.registry.errors import ContentsError
from rebuilder.registry.program import ask

QUERY = r"%{NAME}\t%{EPOCHNUM}\t%{VERSION}\t%{RELEASE}\t%{ARCH}\t%{SOURCERPM}\n"
SQLITE = "rpmdb.sqlite"
DATABASES = (SQLITE, ndb.NAME, "Packages")  # sqlite, ndb, Berkeley DB
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
        problem = last_line(done.stderr) or "rpm exited without output"
        raise ContentsError(f"the RPM database of {of} cannot be read: {problem}")
    for line in done.stdout.splitlines():
        if not line.startswith("gpg-pubkey\t"):
            yield _rpm(line, of)


def at(folder: Path, of: str) -> tuple[Rpm, ...]:
    """Every RPM of the database in this folder, which is ours. Raises as `read`.

    An rpm that was built without a kind of database does not fail: it makes an empty one of its own kind beside it.
    """
    if (folder / ndb.NAME).exists() and not (folder / SQLITE).exists():
        return _of_ndb(folder, of)
    there = {name for name in DATABASES if (folder / name).exists()}
    rpms = tuple(read(("--dbpath", str(folder)), of))
    if {name for name in DATABASES if (folder / name).exists()} - there:
        raise ContentsError(f"{', '.join(sorted(there))} of {of}: this machine's rpm cannot read that kind")
    return rpms


def _of_ndb(folder: Path, of: str) -> tuple[Rpm, ...]:
    """What rpm says of the headers of an ndb database: many an rpm is built without that kind."""
    options = ("--define", "_db_backend sqlite", "--dbpath", str(folder / "copy"))
    made = ask(["rpm", *options, "--initdb"], CALL_SECONDS, RpmError)
    if made.returncode:
        raise RpmError(f"rpm cannot make a database of the kind sqlite: {last_line(made.stderr)}")
    ndb.copy(folder / ndb.NAME, folder / "copy" / SQLITE, of)
    return tuple(read(options, of))


def _rpm(line: str, of: str) -> Rpm:
    try:
        name, epoch, version, release, arch, source = line.split("\t")
        origin = source if source.endswith(".src.rpm") else ""
        return Rpm.parse(f"{name}-{epoch}:{version}-{release}.{arch}", origin)
    except ValueError as error:
        raise ContentsError(f"the RPM database of {of} cannot be read: {error}") from None
