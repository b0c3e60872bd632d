"""Logins to registries as skopeo and buildah find them: containers-auth.json(5).

Programs that hand out credentials are skopeo's alone: where one is set up, it is told of, and not asked.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from rebuilder.registry.short_names import configurations

FILE = "containers-auth.json"  # the name of the "helper" that is the file itself


class Login(Struct, frozen=True):
    """The user and the password for a repository, None where there are none.

    `is_whole` says whether this is what skopeo would use, too: no program and no token that only skopeo understands.
    """

    pair: tuple[str, str] | None
    is_whole: bool = True


def login_for(place: str, auth_file: Path | None) -> Login:
    """The login for a repository, `host/path`: of `auth_file` alone where it is given, else of skopeo's own files."""
    if _helpers():
        return Login(None, is_whole=False)
    for file in [auth_file] if auth_file else _files():
        login = _in_file(_read(file), place)
        if login is not None:
            return login
    return Login(None)


def _in_file(written: Mapping[str, Any], place: str) -> Login | None:
    """What a file says of the repository; None where it says nothing."""
    host = place.partition("/")[0]
    if written.get("credsStore") or host in (written.get("credHelpers") or {}):
        return Login(None, is_whole=False)
    auths = written.get("auths") or {}
    for key in _keys(place):
        if key in auths:
            return _decoded(auths[key])
    return Login(None, is_whole=False) if any(host in key for key in auths) else None


def _keys(place: str) -> Iterator[str]:
    """The repository, what it is in, and the registry, the narrowest first."""
    while place:
        yield place
        place = place.rpartition("/")[0]


def _decoded(entry: Mapping[str, Any]) -> Login:
    try:
        user, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
    except (ValueError, KeyError, TypeError):
        return Login(None, is_whole=False)
    return Login((user, password), is_whole=not entry.get("identitytoken"))


def _read(file: Path) -> Mapping[str, Any]:
    try:
        written = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return written if isinstance(written, dict) else {}


def _helpers() -> bool:
    """Whether registries.conf names programs for credentials."""
    named = [name for settings in configurations() for name in settings.get("credential-helpers", ())]
    return any(name != FILE for name in named)


def _files() -> Iterator[Path]:
    if named := os.environ.get("REGISTRY_AUTH_FILE"):
        yield Path(named)
        return
    home = Path.home()
    yield Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/containers/{os.getuid()}") / "containers/auth.json"
    yield Path(f"/run/containers/{os.getuid()}/auth.json")
    yield Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "containers/auth.json"
    yield home / ".docker/config.json"
