"""`inbox`: the messages that came, what became of them, and those that were set aside."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError, ChannelClosedByBroker

from consumers import wire
from rebuilder import config_file
from rebuilder.cli.context import Context
from rebuilder.cli.operators import who_option
from rebuilder.cli.output import as_json, json_option, print_line, table
from rebuilder.config_file import configuration_file
from rebuilder.domain.errors import RequestError, UnreachableError
from rebuilder.domain.message import Delivery
from rebuilder.domain.times import format_time
from rebuilder.store import dead_letters, inbox
from rebuilder.store.data_errors import one_line
from rebuilder.store.database import reading
from rebuilder.store.dead_letters import SetAside
from rebuilder.web.broker import parameters_of

QUEUE = "rebuilder.dead"
SHOWN_BYTES = 4000
RETURNED = "the broker gave it up: it was returned to the queue too often, or expired"
limit_option = click.option(
    "--limit", type=click.IntRange(1, 10000), default=50, show_default=True, help="How many rows at most."
)
state_option = click.option(
    "--state", type=click.Choice(["new", "accepted", "ignored", "rejected"]), help="Only messages in this state."
)
queue_option = click.option("--queue", default=QUEUE, show_default=True, help="The queue, and its exchange.")


@click.group("inbox", invoke_without_command=True)
@state_option
@limit_option
@json_option
@click.pass_context
def inbox_(context: click.Context, state: str | None, limit: int, json_: bool) -> None:
    """The newest messages received, and what became of them."""
    if context.invoked_subcommand is None:
        _list(context.obj, state, limit, json_)


@inbox_.command("list")
@state_option
@limit_option
@json_option
@click.pass_obj
def list_(context: Context, state: str | None, limit: int, json_: bool) -> None:
    """The newest messages received, and what became of them."""
    _list(context, state, limit, json_)


def _list(context: Context, state: str | None, limit: int, json_: bool) -> None:
    with reading(context.stored) as connection:
        messages = inbox.listing(connection, state, limit)
    if json_:
        as_json([_brief(kept) for kept in messages])
        return
    table(("received", "topic", "state", "reason", "id"),
          [(format_time(k.received_at), k.message.topic, k.state, k.reason, k.message.id) for k in messages])


def _brief(kept: inbox.InboxEntry) -> dict[str, Any]:
    return {"id": kept.message.id, "topic": kept.message.topic, "received": format_time(kept.received_at),
            "state": kept.state, "reason": kept.reason}  # fmt: skip


@inbox_.command()
@click.argument("ident", metavar="ID")
@json_option
@click.pass_obj
def show(context: Context, ident: str, json_: bool) -> None:
    """One message with its headers and its body."""
    with reading(context.stored) as connection:
        kept = inbox.find(connection, ident)
    if json_:
        as_json({**_brief(kept), "headers": kept.message.headers, "body": kept.message.body})
        return
    print_line(f"{kept.message.id}: {kept.message.topic}, received {format_time(kept.received_at)}")
    print_line(f"{kept.state}: {kept.reason}" if kept.reason else kept.state)
    as_json({"headers": kept.message.headers, "body": kept.message.body})


@inbox_.command()
@click.argument("ident", metavar="ID")
@click.pass_obj
def retry(context: Context, ident: str) -> None:
    """Have a message read again that was ignored or rejected."""
    with context.stored.begin() as connection:
        inbox.retry(connection, ident)
    print_line(f"{ident} is unread again; the engine reads it in its next pass")


@inbox_.command()
@click.argument("ident", metavar="ID")
@who_option
@click.pass_obj
def drop(context: Context, ident: str, who: str) -> None:
    """Ignore a message that is unread or was rejected."""
    with context.stored.begin() as connection:
        inbox.drop(connection, ident, who)
    print_line(f"{ident} is dropped")


@inbox_.group(invoke_without_command=True)
@limit_option
@json_option
@click.pass_context
def dead(context: click.Context, limit: int, json_: bool) -> None:
    """Deliveries that cannot be kept as messages: set aside, as they came."""
    if context.invoked_subcommand is not None:
        return
    with reading(context.obj.stored) as connection:
        letters = dead_letters.listing(connection, limit)
    if json_:
        as_json([_dead(one) for one in letters])
        return
    table(("number", "received", "topic", "bytes", "reason", "id"),
          [(d.seq, format_time(d.received_at), d.delivery.topic, len(d.delivery.body), d.reason, d.delivery.id)
           for d in letters])  # fmt: skip


def _dead(letter: SetAside) -> dict[str, Any]:
    return {"number": letter.seq, "id": letter.delivery.id, "topic": letter.delivery.topic,
            "received": format_time(letter.received_at), "bytes": len(letter.delivery.body),
            "reason": letter.reason}  # fmt: skip


@dead.command("show")
@click.argument("number", type=click.IntRange(1, 2**31 - 1))
@click.option("--raw", is_flag=True, help="Write the body to standard output, byte for byte.")
@json_option
@click.pass_obj
def dead_show(context: Context, number: int, raw: bool, json_: bool) -> None:
    """One delivery; the beginning of its body."""
    with reading(context.stored) as connection:
        letter = dead_letters.find(connection, number)
    delivery = letter.delivery
    if raw:
        click.echo(delivery.body, nl=False)
        return
    shown = delivery.body[:SHOWN_BYTES].decode("utf-8", "backslashreplace")
    if json_:
        as_json({**_dead(letter), "headers": delivery.headers, "encoding": delivery.encoding, "body": shown})
        return
    print_line(f"{number}: {delivery.topic}, received {format_time(letter.received_at)}, {len(delivery.body)} bytes")
    print_line(letter.reason)
    print_line(json.dumps(delivery.headers))
    print_line(shown)


@dead.command("retry")
@click.argument("number", type=click.IntRange(1, 2**31 - 1))
@click.pass_obj
def dead_retry(context: Context, number: int) -> None:
    """Take a delivery back into the inbox, whatever its schema says of it."""
    with reading(context.stored) as connection:
        letter = dead_letters.find(connection, number)
    made = letter.delivery.read()
    (new,) = inbox.receive(context.stored, [made])
    with context.stored.begin() as connection:
        dead_letters.drop(connection, number)
    print_line(f"{number} is in the inbox as {made.id}" if new else f"{number} was in the inbox already, as {made.id}")


@dead.command("drop")
@click.argument("number", type=click.IntRange(1, 2**31 - 1))
@click.pass_obj
def dead_drop(context: Context, number: int) -> None:
    """Forget a delivery for good."""
    with context.stored.begin() as connection:
        dead_letters.drop(connection, number)
    print_line(f"{number} is dropped")


@dead.command()
@queue_option
@click.pass_obj
def declare(context: Context, queue: str) -> None:
    """Make the dead-letter exchange and its queue on the broker, where they are missing."""
    with _channel(context) as channel:
        channel.exchange_declare(queue, "fanout", durable=True)
        channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
        channel.queue_bind(queue, queue)
    print_line(f"{queue} is there")


@dead.command()
@queue_option
@click.pass_obj
def collect(context: Context, queue: str) -> None:
    """Set aside here what the broker's dead-letter queue has: `inbox dead` lists it then."""
    wire.guard()
    count, engine = 0, context.engine
    with _channel(context) as channel:
        while (got := channel.basic_get(queue))[0] is not None:
            frame, properties, body = got
            delivery = Delivery(
                properties.message_id or "", _topic(properties, frame.routing_key), properties.headers or {}, body,
                properties.content_encoding or "utf-8",
            )  # fmt: skip
            with engine.begin() as connection:
                dead_letters.keep(connection, delivery, RETURNED, time.time())
            channel.basic_ack(frame.delivery_tag)
            count += 1
    print_line(f"{count} collected from {queue}")


def _topic(properties: Any, otherwise: str) -> str:
    """The routing key that the message had before it was dead: the broker's `x-death` has it."""
    deaths = (properties.headers or {}).get("x-death") or [{}]
    keys = deaths[0].get("routing-keys") or [otherwise]
    return str(keys[0])


@contextmanager
def _channel(context: Context) -> Iterator[BlockingChannel]:
    """A channel to the broker. Raises UnreachableError, or RequestError for no bus, or a queue that is not there."""
    bus = config_file.bus(configuration_file(context.path))
    if not bus.configured:
        raise RequestError("no bus is configured: set amqp_url in the configuration file")
    address = parameters_of(bus)
    where = f"{address.host}:{address.port}"
    try:
        connection = pika.BlockingConnection(address)
    except (AMQPError, OSError) as error:
        raise UnreachableError(f"the broker at {where} cannot be reached: {one_line(error)}") from None
    try:
        yield connection.channel()
    except ChannelClosedByBroker as error:
        raise RequestError(f"the broker at {where} refuses: {error.reply_text}") from None
    except AMQPError as error:
        raise UnreachableError(f"the broker at {where}: {one_line(error)}") from None
    finally:
        if connection.is_open:
            connection.close()
