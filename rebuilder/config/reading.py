"""From fedora-messaging's own configuration file to settings, or to what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from rebuilder import config_file
from rebuilder.config.settings import Settings
from rebuilder.domain.errors import RequestError
from rebuilder.domain.naming import did_you_mean

WORDS = {"extra_forbidden": "unknown key", "tuple_type": "must be a list", "dict_type": "must be a table",
         "model_type": "must be a table"}  # fmt: skip


def settings_of(consumer_config: dict[str, Any], origin: str = "consumer_config") -> Settings:
    """Check a `[consumer_config]` table. Raises RequestError naming the first wrong key."""
    try:
        return Settings.model_validate(consumer_config)
    except ValidationError as error:
        raise RequestError(f"{origin}: {_faults(error)[0]}") from None


def faults(consumer_config: object) -> list[str]:
    """All that is wrong with a `[consumer_config]` table, key by key."""
    if not isinstance(consumer_config, dict):
        return ["consumer_config: must be a table"]
    try:
        Settings.model_validate(consumer_config)
    except ValidationError as error:
        return _faults(error)
    return []


def _faults(error: ValidationError) -> list[str]:
    problems = []
    for fault in error.errors():
        place, what = fault["loc"], WORDS.get(fault["type"], fault["msg"].removeprefix("Value error, "))
        if fault["type"] == "extra_forbidden":
            what += did_you_mean(str(place[-1]).lower(), _table_at(place[:-1]).model_fields, 1)
        key = ".".join(map(str, ("consumer_config", *place)))
        problems.append(f"{key}: {what}")
    return problems


def _table_at(place: tuple[str | int, ...]) -> type[BaseModel]:
    """The table with that path: a step leads to a key of a table, or into a list or table of tables."""
    table: Any = Settings
    for step in place:
        if isinstance(table, type) and issubclass(table, BaseModel):
            table = table.model_fields[str(step)].annotation
        else:
            table = next(kind for kind in get_args(table) if isinstance(kind, type) and issubclass(kind, BaseModel))
    assert isinstance(table, type) and issubclass(table, BaseModel)
    return table


def first_fault(error: ValidationError) -> tuple[tuple[str | int, ...], str]:
    """Where the first wrong value is, step by step from the root, and what is wrong with it."""
    first = error.errors()[0]
    return first["loc"], WORDS.get(first["type"], first["msg"])


def load(path: Path | None) -> Settings:
    """Settings of the configuration file, or the defaults. Raises RequestError when it cannot be used."""
    if path is None:
        return Settings()
    read = config_file.document(path)
    for fault in config_file.unknown_keys(read):
        raise RequestError(f"{path}: {fault}")
    table = read.get("consumer_config", {})
    if not isinstance(table, dict):
        raise RequestError(f"{path}: consumer_config: must be a table")
    return settings_of(table, str(path))
