"""`replay`: messages from a file, read and kept as the consumer does with those of the bus."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any, BinaryIO

import click
import pika
from fedora_messaging.message import get_message

from consumers import deliveries, topics
from rebuilder.cli.context import Context
from rebuilder.cli.output import as_json, json_option
from rebuilder.cli.terminal import one_line
from rebuilder.domain.errors import RequestError
from rebuilder.domain.message import LONGEST_NAME, IncomingMessage, Unstorable
from rebuilder.engine import ingest
from rebuilder.store import inbox
from rebuilder.store.database import reading

WORDS = ("accepted", "duplicate", "ignored", "rejected")
DEAD = "dead-lettered"
LONGEST_LINE = 32_000_000  # bytes; a broker of its own accord takes 16 million
MAKE = deliveries.guarded(get_message)


@click.command()
@click.argument("file", type=click.File("rb"))
@json_option
@click.pass_obj
def replay(context: Context, file: BinaryIO, json_: bool) -> int:
    """Read messages from FILE, or from - for standard input: one JSON object a line, as
    `fedora-messaging record` writes them. A wrong line is reported and stops nothing; exit status 1."""
    logging.getLogger("fedora_messaging").setLevel(logging.CRITICAL)  # what it says of a message we say with its line
    results: Counter[str] = Counter()
    for number, line in _lines(file):
        word, reason = _take(context, f"{file.name}:{number}", line)
        results[word] += 1
        if word in ("rejected", DEAD):
            click.echo(f"rebuilder: {one_line(f'{file.name}:{number}: {word}: {reason}')}", err=True)
    if json_:
        as_json({word: results[word] for word in (*WORDS, DEAD)})
    else:
        words = (*WORDS, DEAD) if results[DEAD] else WORDS
        click.echo(", ".join(f"{results[word]} {word}" for word in words))
    return int(bool(results["rejected"] or results[DEAD]))


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The lines that are not empty, with their numbers. Of one that is too long, a little more than may be."""
    number = 0
    while line := file.readline(LONGEST_LINE + 1):
        number += 1
        if line.strip():
            yield number, line
        while line and not line.endswith(b"\n"):
            line = file.readline(LONGEST_LINE)


def _take(context: Context, where: str, line: bytes) -> tuple[str, str]:
    """What became of a line, and why, where it is not kept as a message."""
    try:
        message = MAKE(*_delivered(where, line))
    except RequestError as error:
        return "rejected", str(error)
    reason = "the database refuses it"

    def received() -> IncomingMessage:
        nonlocal reason
        try:
            return deliveries.received(message)
        except Unstorable as error:
            reason = str(error)
            raise

    with context.engine.connect() as connection:
        fate = inbox.take(connection, received, deliveries.delivery_of(message))
    if fate != "new":
        return ("duplicate", "") if fate == "duplicate" else (DEAD, reason)
    with reading(context.engine) as connection:  # it is told at once, and acted on when the engine gets to it
        return ingest.preview(connection, received(), topics.parse, context.settings)


def _delivered(where: str, line: bytes) -> tuple[str, pika.BasicProperties, bytes]:
    """The message of a line as the broker would deliver it. Raises RequestError where it is none."""
    if len(line) > LONGEST_LINE:
        raise RequestError(f"longer than {LONGEST_LINE} bytes")
    try:
        value: Any = json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise RequestError(f"not UTF-8 text: byte {error.start + 1}") from None
    except ValueError as error:
        raise RequestError(f"not JSON: {error}") from None
    except RecursionError:  # the consumer sets it aside as it is
        return where[-LONGEST_NAME:], pika.BasicProperties(headers={}, content_encoding="utf-8"), line
    if not isinstance(value, dict) or not isinstance(value.get("topic"), str):
        raise RequestError("not a message: it needs a topic")
    if not isinstance(value.get("id") or "", str):
        raise RequestError("not a message: its id must be text")
    headers = value.get("headers")
    properties = pika.BasicProperties(
        message_id=value.get("id"), headers=headers if isinstance(headers, dict) else {}, content_encoding="utf-8"
    )
    return value["topic"], properties, json.dumps(value.get("body")).encode()
