"""`replay`: messages from a file, kept as the consumer keeps those of the bus."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any, BinaryIO

import click

from consumers import topics
from rebuilder.cli.context import Context
from rebuilder.cli.output import as_json
from rebuilder.domain.errors import RequestError
from rebuilder.domain.message import Delivery, Received, Unstorable, storable
from rebuilder.engine import intake
from rebuilder.store import inbox
from rebuilder.store.database import reading

WORDS = ("accepted", "duplicate", "ignored", "rejected")
DEAD = "dead-lettered"


@click.command()
@click.argument("file", type=click.File("rb"))
@click.option("--json", "json_", is_flag=True)
@click.pass_obj
def replay(context: Context, file: BinaryIO, json_: bool) -> None:
    """Take in messages from FILE, or from - for standard input: one JSON object a line, as
    `fedora-messaging record` writes them."""
    results: Counter[str] = Counter()
    for number, line in enumerate(file, 1):
        if line.strip():
            results[_take(context, f"{file.name}:{number}", line)] += 1
    if json_:
        as_json({word: results[word] for word in (*WORDS, DEAD)})
    else:
        words = (*WORDS, DEAD) if results[DEAD] else WORDS
        click.echo(", ".join(f"{results[word]} {word}" for word in words))


def _take(context: Context, where: str, line: bytes) -> str:
    """What became of a line. Raises RequestError where it is no message; those before it are kept."""
    try:
        value = _message(where, line)
        delivery = Delivery(value.get("id") or "", value["topic"], _headers(value), _body(value))
    except RecursionError:  # the consumer, too, keeps what it cannot read
        delivery = Delivery("", where[-200:], {}, line)
        return _fate(context, delivery, _raise_deep)
    return _fate(context, delivery, lambda: storable(value.get("id"), value["topic"], _headers(value), value["body"]))


def _message(where: str, line: bytes) -> dict[str, Any]:
    try:
        value: Any = json.loads(line.decode())
    except UnicodeDecodeError:
        raise RequestError(f"{where}: not UTF-8 text") from None
    except ValueError:
        raise RequestError(f"{where}: not JSON") from None
    if not isinstance(value, dict) or not isinstance(value.get("topic"), str):
        raise RequestError(f"{where}: not a message: it needs a topic")
    if not isinstance(value.get("id") or "", str):
        raise RequestError(f"{where}: not a message: its id must be text")
    return {"body": None, **value}


def _headers(value: dict[str, Any]) -> dict[str, Any]:
    headers = value.get("headers")
    return headers if isinstance(headers, dict) else {}


def _body(value: dict[str, Any]) -> bytes:
    return json.dumps(value["body"]).encode()


def _raise_deep() -> Received:
    raise Unstorable("nested too deeply")


def _fate(context: Context, delivery: Delivery, make: Callable[[], Received]) -> str:
    """What the engine will say of the message: it is told at once, and acted on when the engine gets to it."""
    fate = inbox.take(context.engine, make, delivery)
    if fate != "new":
        return "duplicate" if fate == "duplicate" else DEAD
    with reading(context.engine) as connection:
        return intake.preview(connection, make(), topics.parse, context.settings)
