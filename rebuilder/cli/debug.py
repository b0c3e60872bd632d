"""`debug`: what a report of a fault needs."""

from __future__ import annotations

import platform
import re
import sys
import time
from importlib.metadata import distributions
from pathlib import Path
from typing import IO, Any

import click
import msgspec

from rebuilder import config_file
from rebuilder.cli.context import Context
from rebuilder.domain.errors import RequestError, UnreachableError
from rebuilder.queries import status as answers
from rebuilder.store import database, dump

REMOVED = "(removed)"
SECRET = re.compile(r"password|passwd|secret|token|hash", re.IGNORECASE)
CREDENTIALS = re.compile(r"(\w://[^\s:/@]*):[^\s@]*@")


@click.group()
def debug() -> None:
    """Collect what a bug report needs."""


@debug.command("dump")
@click.option("--output", "-o", type=click.File("w"), default="-", metavar="FILE",
              help="The file to write; default: standard output.")  # fmt: skip
@click.option("--limit", type=click.IntRange(1, 10_000), default=200, show_default=True,
              help="Rows of each kind: the newest messages, changes, rebuilds, transitions and orders.")  # fmt: skip
@click.pass_obj
def dump_(context: Context, output: IO[str], limit: int) -> int:
    """Write one JSON document with versions, settings, the state of everything, and what happened last.

    Passwords and tokens are removed, and bodies of messages are left out. It works as well where the database does not
    answer: then the document says why, and the exit status is 3.
    """
    document: dict[str, Any] = {"versions": _versions(), "configuration": _settings(context)}
    try:
        document["database"] = _of_database(context, limit)
    except (RequestError, UnreachableError) as error:
        document["database"] = {"error": str(error)}
    written = msgspec.json.format(msgspec.json.encode(without_secrets(document), enc_hook=str), indent=2)
    output.write(written.decode() + "\n")
    return 3 if "error" in document["database"] else 0


def _versions() -> dict[str, Any]:
    packages = {distribution.metadata["Name"]: distribution.version for distribution in distributions()}
    return {"python": sys.version, "platform": platform.platform(), "packages": dict(sorted(packages.items()))}


def _settings(context: Context) -> dict[str, Any]:
    path = config_file.configuration_file(context.path)
    try:
        settings = context.settings.model_dump(mode="json")
    except RequestError as error:
        return {"file": path, "error": str(error)}
    bus = config_file.bus(path)
    return {"file": path, "settings": settings, "amqp_url": bus.url, "queues": bus.queues}


def _of_database(context: Context, limit: int) -> dict[str, Any]:
    """The tables as they are, also those of another version: an upgrade would change what is to be looked into.

    Raises RequestError and UnreachableError.
    """
    engine = database.as_it_is(context.settings.database)
    version = database.revision(engine)
    summary: dict[str, Any] = {"address": database.where(engine), "version": version, "expected": database.HEAD}
    if version != database.HEAD:
        return summary | {"error": f"the tables are of version {version or 'none'}: run `rebuilder db upgrade`"}
    with database.reading(engine) as connection:
        status = answers.read(connection, context.settings, time.time()).model_dump(mode="json")
        return summary | {"rows": dump.sizes(connection), "status": status, "newest": dump.newest(connection, limit)}


def without_secrets(value: Any, key: str = "") -> Any:
    """The value without what lets somebody in: by the names of keys, and credentials in URLs."""
    if isinstance(value, dict):
        return {name: without_secrets(item, str(name)) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_secrets(item, key) for item in value]
    if isinstance(value, str | Path):
        if value and SECRET.search(key) and not key.endswith("_file"):
            return REMOVED
        return CREDENTIALS.sub(rf"\1:{REMOVED}@", str(value))
    return value
