"""What a short image name (`nginx:1`) stands for on this machine: containers-registries.conf(5)."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

SYSTEM = Path("/etc/containers/registries.conf")
HUB = "docker.io/library"


def full_names(spec: str) -> tuple[str, ...]:
    """The names with a registry that buildah tries for a short one, in their order, beside that of a local image."""
    name, colon, tag = spec.partition(":")
    registries: tuple[str, ...] = ()
    aliases: dict[str, str] = {}
    for settings in configurations():
        registries = tuple(settings.get("unqualified-search-registries", registries))
        aliases |= settings.get("aliases", {})
    if alias := aliases.get(name):
        return (f"{alias}{colon}{tag}",)
    prefixes = (HUB if registry == "docker.io" else registry for registry in registries)
    return tuple(f"{prefix}/{spec}" for prefix in prefixes) or (f"{HUB}/{spec}",)


def configurations() -> Iterator[Mapping[str, Any]]:
    """The files of the configuration, those that count more later; what cannot be read buildah tells itself."""
    if named := os.environ.get("CONTAINERS_REGISTRIES_CONF"):
        files = [Path(named)]
    else:
        own = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "containers" / "registries.conf"
        parts = (part for main in (SYSTEM, own) for part in sorted(Path(f"{main}.d").glob("*.conf")))
        files = [own if own.exists() else SYSTEM, *parts]
    for file in files:
        try:
            state = file.stat()
            yield _parsed(file, state.st_mtime_ns, state.st_size)
        except (OSError, ValueError):
            continue


@lru_cache(maxsize=64)
def _parsed(file: Path, _changed: int, _size: int) -> Mapping[str, Any]:
    """What is in the file, read again after each change of it."""
    return tomllib.loads(file.read_text())
