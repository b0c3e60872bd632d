"""Whether the files, folders and hosts that a configuration names are there."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy.exc import DBAPIError

from rebuilder.builders.plugin import configured
from rebuilder.config import Settings
from rebuilder.config_file import Bus
from rebuilder.distribution import install
from rebuilder.domain.errors import RequestError, UnreachableError
from rebuilder.inventory.source import source_of
from rebuilder.plugins import Finding
from rebuilder.sbom.documents import EXTRA
from rebuilder.store import database

RESOLVE_SECONDS = 5.0


def database_of(settings: Settings) -> Finding:
    """Whether it can be opened, and is of this version. Nothing is made: a new one is, when it is needed."""
    about = f"database {database.shown(settings.database)}"
    try:
        return Finding(f"{about}: {database.condition(settings.database)}")
    except (RequestError, UnreachableError, DBAPIError) as error:
        return Finding(about, str(error).removeprefix(f"{about}: "))


def files(settings: Settings, bus: Bus) -> Iterator[Finding]:
    """The files that must be readable."""
    named: dict[str, Path | None] = {f"tls.{key}": Path(file) for key, file in bus.tls.items()}
    if settings.koji.hub:
        named["consumer_config.koji.server_ca"] = settings.koji.server_ca
    named["consumer_config.registry.auth_file"] = settings.registry.auth_file
    for name, stream in settings.streams.items():
        named[f"consumer_config.streams.{name}.test_script"] = stream.test_script
    named |= source_of(settings).files(settings)
    for key, path in named.items():
        if path is not None:
            yield Finding(f"{key} {path}", _unreadable(path))


def _unreadable(path: Path) -> str:
    try:
        with path.open("rb"):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def folders(settings: Settings) -> Iterator[Finding]:
    """The folder of the images, and those that are written to; what is missing of these is made when it is needed."""
    inventory, plugin = settings.inventory, source_of(settings)
    if "source" in inventory.model_fields_set and not plugin.is_named(settings):
        problem = f"is not set: where the images of source {inventory.source} are"
        yield Finding("consumer_config.inventory.path", problem)
    read = dict(plugin.folders(settings))
    for name, source in inventory.sources.items():
        read[f"consumer_config.inventory.sources.{name}.path"] = source.path
    for key, path in read.items():
        if path is not None:
            yield Finding(f"{key} {path}", _unlisted(path))
    written: dict[str, Path] = {}
    address = database.address_of(settings.database)
    if address.get_backend_name() == "sqlite" and address.database:
        written["folder of the database"] = Path(address.database).parent
    written |= configured(settings).folders(settings)
    for about, folder in written.items():
        yield Finding(f"{about} {folder}", _unwritable(folder))


def _unlisted(path: Path) -> str:
    try:
        with os.scandir(path):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def _unwritable(folder: Path) -> str:
    """Why nothing can be put there; a folder that is missing is made in the nearest one above that is there."""
    there = next((path for path in (folder, *folder.parents) if os.path.lexists(path)), Path("/"))
    if not there.is_dir():
        return f"{there} is not a folder"
    return "" if os.access(there, os.W_OK | os.X_OK) else f"{there} cannot be written to"


def endorsing(settings: Settings) -> Iterator[Finding]:
    """What signs images and makes their bills of materials."""
    registry = settings.registry
    if registry.sign:
        path = shutil.which(registry.sign[0])
        yield Finding(f"consumer_config.registry.sign {registry.sign[0]}", "" if path else "there is no such command")
    if registry.sbom:
        missing = [name for name in ("cyclonedx", "spdx_tools", "packageurl") if find_spec(name) is None]
        problem = f"it needs an extra: {install(EXTRA)}" if missing else ""
        yield Finding(f"consumer_config.registry.sbom {registry.sbom}", problem)


def hosts(settings: Settings, bus: Bus) -> Iterator[Finding]:
    """The hosts by their names; all are looked up at once, and none is waited for longer than RESOLVE_SECONDS."""
    named = {key: host for key, host in _hosts(settings, bus).items() if host}
    answers: dict[str, str] = {}

    def look(host: str) -> None:
        answers[host] = _unresolved(host)

    # A look-up has no time limit of its own, so that those left out must not keep the command from ending.
    threads = [threading.Thread(target=look, args=(host,), daemon=True) for host in dict.fromkeys(named.values())]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(RESOLVE_SECONDS)
    silent = f"the name is not resolved within {RESOLVE_SECONDS:g} s"
    for key, host in named.items():
        yield Finding(f"{key}: host {host}", answers.get(host, silent))


def _hosts(settings: Settings, bus: Bus) -> Mapping[str, str]:
    hosts = {
        "amqp_url": _host(bus.url),
        "consumer_config.database_url": database.address_of(settings.database).host or "",
        "consumer_config.koji.hub": _host(settings.koji.hub),
        "consumer_config.web.host": settings.web.host,
    }
    if settings.notify.enabled:
        hosts["consumer_config.notify.url"] = _host(settings.notify.url)
    return hosts


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _unresolved(host: str) -> str:
    try:
        socket.getaddrinfo(host, None)
    except (OSError, UnicodeError) as error:
        return f"the name cannot be resolved: {getattr(error, 'strerror', None) or error}"
    return ""
