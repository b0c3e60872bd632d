"""RPM databases in a folder, whatever their kind: rpm itself reads them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from rebuilder.domain.errors import RequestError
from rebuilder.domain.rpm import Rpm
from rebuilder.registry.errors import ContentsError

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
    done = _call(["rpm", *options, "-qa", "--qf", QUERY])
    if done.returncode or "error:" in done.stderr:
        raise ContentsError(f"the RPM database of {of} cannot be read: {_last_line(done.stderr)}")
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


def _call(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, timeout=CALL_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise RpmError(f"rpm did not answer within {CALL_SECONDS} s") from None
    except OSError as error:
        raise RpmError(f"rpm: {error.strerror or error}") from None


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "rpm exited without output"
