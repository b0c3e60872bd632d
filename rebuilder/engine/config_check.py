"""What can be told of a configuration without asking any service: `config check`.

Nothing is changed. The names of hosts are resolved, as a misspelt one is else noticed at night.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from rebuilder import config, config_file
from rebuilder.builders.plugin import plugin_of
from rebuilder.config import Settings
from rebuilder.config_file import Bus
from rebuilder.domain.errors import RequestError
from rebuilder.domain.naming import did_you_mean
from rebuilder.engine import factory, place_check
from rebuilder.inventory.source import source_of
from rebuilder.plugins import Finding
from rebuilder.store import database

QUEUE_KEYS = {"durable", "auto_delete", "exclusive", "arguments"}
EXCHANGE_KEYS = {"type", "durable", "auto_delete", "arguments"}
BINDING_KEYS = {"queue", "exchange", "routing_keys", "arguments"}
WHOLE = {"tls": {"ca_cert", "certfile", "keyfile"}, "qos": {"prefetch_size", "prefetch_count"}}

UNCHECKED = Finding("builder, database, files, folders, names of hosts", unchecked="mend the keys first")


def of_file(path: Path) -> Iterator[Finding]:
    """What is wrong with the keys and values of a configuration file, fedora-messaging's and ours.

    Raises RequestError where it cannot be read.
    """
    read = config_file.document(path)
    wrong = config_file.unknown_keys(read) or [*_sections(read), *_refused(path)]
    yield from _all("keys of fedora-messaging", wrong)
    yield from _all("keys of [consumer_config]", config.faults(read.get("consumer_config", {})))


def _all(about: str, faults: list[str]) -> Iterator[Finding]:
    """A finding for each fault, which begins with its key, or one that there is none."""
    keys = [fault.partition(": ") for fault in faults]
    yield from [Finding(key, what) if what else Finding(about, key) for key, _, what in keys] or [Finding(about)]


def _refused(path: Path) -> list[str]:
    """What fedora-messaging itself says of the file, and whether the callback is there."""
    from fedora_messaging.config import LazyConfig
    from fedora_messaging.exceptions import ConfigurationException

    try:
        callback = LazyConfig().load_config(config_path=str(path))["callback"]
    except ConfigurationException as error:
        return [str(error)]
    except (AttributeError, TypeError, KeyError) as error:
        return [f"fedora-messaging cannot read it: {error}"]
    try:
        resolve_name(callback) if callback else None
    except (AttributeError, ImportError, ValueError, TypeError):
        return [f"callback: there is no {callback}; rebuilder's is consumers:Inbox"]
    return []


def _sections(read: Mapping[str, Any]) -> list[str]:
    """Misspelt and missing keys of sections, which fedora-messaging overlooks until it needs them."""
    faults = [fault for name, keys in WHOLE.items() if name in read for fault in _section(name, read[name], keys, keys)]
    for name, keys in (("queues", QUEUE_KEYS), ("exchanges", EXCHANGE_KEYS), ("bindings", BINDING_KEYS)):
        for key, table in _tables(read.get(name, {})):
            faults += _section(f"{name}.{key}", table, keys)
    return faults


def _tables(section: object) -> Iterable[tuple[object, object]]:
    """The tables of a section, by name or number; what is neither is fedora-messaging's to refuse."""
    if isinstance(section, dict):
        return section.items()
    return enumerate(section) if isinstance(section, list) else ()


def _section(name: str, table: object, keys: set[str], needed: set[str] | None = None) -> list[str]:
    if not isinstance(table, dict):
        return [f"{name}: must be a table"]
    unknown = [str(key) for key in table if key not in keys]
    faults = [f"{name}.{key}: unknown key{did_you_mean(key.lower(), keys, 1)}" for key in unknown]
    missing = sorted((needed or set()) - table.keys())
    return faults + [f"{name}.{key}: is missing: where [{name}] is set, it needs all of its keys" for key in missing]


def of_settings(settings: Settings, bus: Bus) -> Iterator[Finding]:
    """What a configuration whose keys are good means on this machine."""
    try:
        database.address_of(settings.database)
    except RequestError as error:
        yield Finding("consumer_config", str(error))
        return
    yield _builder(settings)
    yield from _announcing(settings, bus)
    if database.is_file(settings.database):
        yield place_check.database_of(settings)
    yield from place_check.files(settings, bus)
    yield from place_check.folders(settings)
    yield from _platforms(settings)
    yield from place_check.endorsing(settings)
    yield from place_check.hosts(settings, bus)


def _builder(settings: Settings) -> Finding:
    about = f"builder {settings.builder}, images from {settings.inventory.source}"
    try:
        factory.check(settings)
    except RequestError as error:
        return Finding(about, str(error))
    return Finding(about)


def _platforms(settings: Settings) -> Iterator[Finding]:
    """Nothing where images or builder cannot be read, as others say that."""
    try:
        images = source_of(settings).at_hand(settings)
        yield from plugin_of(settings).platforms(settings, images)
    except RequestError:
        return


def _announcing(settings: Settings, bus: Bus) -> Iterator[Finding]:
    if settings.notify.enabled:
        yield Finding("notifications", "" if bus.configured else "they need a bus: set amqp_url")
