"""What all tables of the configuration have in common, and where things are by default."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict


def state_directory() -> Path:
    """The user's state directory (XDG): where everything lives when no configuration says otherwise."""
    root = os.environ.get("STATE_DIRECTORY") or os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(root) / "rebuilder"


def own_folder(path: Path) -> None:
    """Make a folder, and what is missing above it, for us and our group alone. Raises OSError."""
    for folder in reversed([path, *path.parents]):
        if not folder.exists():
            folder.mkdir(mode=0o750, exist_ok=True)


def child_environment() -> dict[str, str]:
    """The environment of a program that we start: ours, without what systemd tells its service alone (sd_notify(3))."""
    return {name: value for name, value in os.environ.items() if name not in ("NOTIFY_SOCKET", "WATCHDOG_USEC")}


class StrictModel(BaseModel):
    """A table of the configuration: an unknown key is an error, and nothing changes after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


T = TypeVar("T")


OneOrMore = Annotated[tuple[T, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]
