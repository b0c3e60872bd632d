"""Whose SQLite's file is: the services end where root, or somebody else, made or restored it."""

from __future__ import annotations

import os
import pwd
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

SERVICES = "rebuilder"  # the user of the units, whose home is the folder of the database


class Unwritable(Struct, frozen=True):
    """Why a database cannot be written, and what mends that."""

    path: Path
    detail: str
    mend: str

    def __str__(self) -> str:
        return f"database {self.path}: {self.detail}: {self.mend}"


def user_name(uid: int) -> str:
    """The user's name; where no such user is known, as in a container, the number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def unwritable(path: Path) -> Unwritable | None:
    """None where the file may be written by us; or, for root, by those whose folder it is in."""
    return _for_root(path) if os.geteuid() == 0 else _for_us(path)


def _for_us(path: Path) -> Unwritable | None:
    us = os.geteuid()
    for place, right in ((path.parent, os.W_OK | os.X_OK), (path, os.R_OK | os.W_OK), *_beside(path)):
        with suppress(OSError):
            owner = place.stat().st_uid
            if owner == us or os.access(place, right, effective_ids=True):
                continue
            detail = f"{place} belongs to {user_name(owner)}, and {user_name(us)} may not write it"
            return Unwritable(path, detail, _mend(path, owner, us))
    return None


def _beside(path: Path) -> tuple[tuple[Path, int], ...]:
    """The journal and its index, which SQLite writes even for who only reads."""
    return tuple((Path(f"{path}{end}"), os.R_OK | os.W_OK) for end in ("-wal", "-shm", ".upgrade.lock"))


def _mend(path: Path, owner: int, us: int) -> str:
    """What root made is given away; what is another user's is used as that user."""
    if owner:
        return f"run this as {user_name(owner)}"
    return f"as root, chown -R {user_name(us)}: {path.parent}"


def _for_root(path: Path) -> Unwritable | None:
    try:
        folder, file = path.parent.stat(), path.stat()
    except OSError:
        return None
    user = folder.st_uid or _services(path.parent)
    if file.st_uid == user and folder.st_uid == user:
        return None
    place = path if file.st_uid != user else path.parent
    detail = f"{place} belongs to {user_name(place.stat().st_uid)}, and the services run as {user_name(user)}"
    return Unwritable(path, detail, f"chown -R {user_name(user)}: {path.parent}")


def _services(folder: Path) -> int:
    """The user of the services, where the folder is their home; else root, who may run everything alone."""
    try:
        entry = pwd.getpwnam(SERVICES)
    except KeyError:
        return 0
    return entry.pw_uid if Path(entry.pw_dir) == folder else 0
