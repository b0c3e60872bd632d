"""The configuration file: where it is found, what is in it, and what it says of the bus.

It is fedora-messaging's own; `rebuilder.config` reads our part of it.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from rebuilder.domain.errors import RequestError
from rebuilder.domain.naming import did_you_mean

OURS = Path("/etc/rebuilder/config.toml")
THEIRS = Path("/etc/fedora-messaging/config.toml")
CREDENTIALS = "${CREDENTIALS}/"
# The keys of fedora-messaging 3.9, so that it is loaded only to look for another one.
KEYS = frozenset({
    "amqp_url", "bindings", "callback", "client_properties", "consumer_config", "exchanges", "log_config", "monitoring",
    "passive_declares", "publish_exchange", "publish_priority", "qos", "queues", "tls", "topic_prefix",
})  # fmt: skip


class Origin(Struct, frozen=True):
    """Which file is read, None for none at all, and which others are there and are not read.

    `named` is whether somebody named the file: else it was found in its place.
    """

    path: Path | None
    named: bool = False
    passed_over: tuple[Path, ...] = ()

    @property
    def doubtful(self) -> bool:
        """Whether somebody may think that another configuration is in use."""
        if self.path is None or self.passed_over:
            return True
        return not self.named and "consumer_config" not in document(self.path)

    def __str__(self) -> str:
        if self.path is None:
            return f"no configuration file (--config, REBUILDER_CONFIG or {OURS}): defaults alone"
        parts = [str(self.path)]
        if "consumer_config" not in document(self.path):
            parts.append("it has no [consumer_config]: defaults alone")
        parts += [f"{other} is not read" for other in self.passed_over]
        return f"configuration {'; '.join(parts)}"


def origin(given: Path | None) -> Origin:
    """The file to read: that given, else REBUILDER_CONFIG, else the user's, OURS, or where fedora-messaging looks."""
    if named := given or os.environ.get("REBUILDER_CONFIG"):
        return Origin(Path(named), named=True)
    theirs = os.environ.get("FEDORA_MESSAGING_CONF")
    there = _places(theirs)
    if not there:
        return Origin(None)
    others = there[1:] if theirs else _meant(there[1:])
    return Origin(there[0], named=str(there[0]) == theirs, passed_over=tuple(others))


def _meant(paths: Iterable[Path]) -> list[Path]:
    """Those that somebody may mean: the file that fedora-messaging is installed with has nothing of ours."""
    return [path for path in paths if "consumer_config" in _document_or_nothing(path)]


def _places(theirs: str | None) -> list[Path]:
    """Where a configuration is without being named; the file that the environment names need not exist."""
    places = [user_file(), OURS, Path(theirs) if theirs else THEIRS]
    return [path for path in dict.fromkeys(places) if str(path) == theirs or _there(path)]


def user_file() -> Path:
    """The user's own configuration (XDG), whether there is one or not."""
    folder = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")  # noqa: PTH111 -- a user without a home
    return Path(folder) / "rebuilder" / "config.toml"


def configuration_file(given: Path | None) -> Path | None:
    """The path of the file to read, None for none; see `origin`."""
    return origin(given).path


def _there(path: Path) -> bool:
    """Whether there is such a file. One that we may not look at is there: reading it then says what is wrong."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def document(path: Path) -> dict[str, Any]:
    """All of the file. Raises RequestError where it cannot be read, or is not TOML."""
    try:
        # As fedora-messaging does, the first level is read in lower case.
        read = tomllib.loads(path.read_text(encoding="utf-8"))
        return {key.lower(): with_credentials(value) for key, value in read.items()}
    except OSError as error:
        raise RequestError(f"{path}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"{path}: not TOML: {error}") from None


def with_credentials(value: Any) -> Any:
    """The value with the paths of what the units load for us, where a text in it says `${CREDENTIALS}/FILE`.

    That is a file in OURS's folder `credentials`, which root alone may read: systemd hands the service a copy of its
    own (LoadCredential in systemd.exec(5)). Outside of a unit, as in an administrator's shell, it is the file itself.
    """
    if isinstance(value, str):
        loaded = os.environ.get("CREDENTIALS_DIRECTORY")
        return value.replace(CREDENTIALS, f"{loaded}/rebuilder_" if loaded else f"{OURS.parent}/credentials/")
    if isinstance(value, dict):
        return {key: with_credentials(inner) for key, inner in value.items()}
    return [with_credentials(inner) for inner in value] if isinstance(value, list) else value


def _document_or_nothing(path: Path) -> dict[str, Any]:
    try:
        return document(path)
    except RequestError:
        return {}


def unknown_keys(read: Mapping[str, Any]) -> list[str]:
    """What is wrong with the names of the file's first level: fedora-messaging's consumer refuses such a file."""
    unknown = [key for key in read if key not in KEYS]
    if not unknown:
        return []
    from fedora_messaging.config import DEFAULTS

    keys = KEYS | set(DEFAULTS)
    return [f"{key}: unknown key{did_you_mean(key.lower(), keys, 1)}" for key in unknown if key not in keys]


class Bus(Struct, frozen=True):
    """The broker that messages come from, and the queues that we read; `tls` has the files of `[tls]` by their keys.

    Where none is configured, `url` is empty.
    """

    url: str
    queues: tuple[str, ...]
    tls: Mapping[str, str]

    @property
    def configured(self) -> bool:
        """Whether there is a bus at all: the command works without one, too."""
        return bool(self.url)


def bus(path: Path | None) -> Bus:
    """What fedora-messaging's own configuration says of the broker. Raises RequestError where it cannot be read."""
    read = document(path) if path else {}
    queues, tls = read.get("queues"), read.get("tls")
    files = {key: str(value) for key, value in tls.items() if value} if isinstance(tls, dict) else {}
    # Who names queues and no broker means fedora-messaging's default.
    url = read.get("amqp_url", "amqp://localhost" if queues else "")
    return Bus(str(url), tuple(queues) if isinstance(queues, dict) else (), files)
