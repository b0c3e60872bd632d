"""`run`, `engine`, `web`, `replay`: the verbs that make things happen."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any, TextIO

import click

from consumers import topics
from rebuilder import config
from rebuilder.cli import service
from rebuilder.cli.context import Context
from rebuilder.cli.notifier import publishing
from rebuilder.cli.output import as_json
from rebuilder.config import configuration_file
from rebuilder.domain.errors import RequestError
from rebuilder.domain.message import Received
from rebuilder.engine import intake, workshop
from rebuilder.engine.loop import Loop
from rebuilder.engine.systemd import notify
from rebuilder.store import inbox, rebuilds
from rebuilder.store.database import reading
from rebuilder.store.lock import only_engine


@click.command()
@click.option("--until-idle", is_flag=True, help="Exit when nothing is left to be done; 1 where a rebuild failed.")
@click.pass_obj
def engine(context: Context, until_idle: bool) -> int:
    """Plan and drive the rebuilds. Killed at any point, it goes on where it was."""
    return work(context, service.begin(), until_idle)


def work(context: Context, stop: threading.Event, until_idle: bool) -> int:
    """Run the engine until `stop` is set or, with `until_idle`, nothing is left; 1 where a rebuild failed."""
    with only_engine(context.engine), publishing(context, stop, drain=until_idle):
        builder = workshop.builder_for(context.engine, context.settings)
        hub = workshop.hub_for(context.settings)
        loop = Loop(
            context.engine, context.settings, builder, topics.parse, hub=hub, alive=lambda: notify("WATCHDOG=1")
        )
        notify("READY=1")
        try:
            loop.run(stop, until_idle=until_idle)
            loop.end()
        finally:
            notify("STOPPING=1")
            service.calls_abandoned = not loop.close()
    with reading(context.engine) as connection:
        return int(until_idle and rebuilds.any_stopped(connection))


@click.command()
@click.argument("file", type=click.File("r", encoding="utf-8"))
@click.option("--json", "json_", is_flag=True)
@click.pass_obj
def replay(context: Context, file: TextIO, json_: bool) -> None:
    """Take in messages from FILE, or from - for standard input: one JSON object a line, as
    `fedora-messaging record` writes them."""
    results: Counter[str] = Counter()
    for message in _messages(file):
        (new,) = inbox.receive(context.engine, [message])
        results[_fate(context, message) if new else "duplicate"] += 1
    words = ("accepted", "duplicate", "ignored", "rejected")
    if json_:
        as_json({word: results[word] for word in words})
    else:
        click.echo(", ".join(f"{results[word]} {word}" for word in words))


def _messages(file: TextIO) -> Iterator[Received]:
    """Every line as a message. Raises RequestError naming the line that is none, before anything of it is kept."""
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            value: Any = json.loads(line)
        except ValueError:
            raise RequestError(f"{file.name}:{number}: not JSON") from None
        if not isinstance(value, dict) or not all(isinstance(value.get(key), str) for key in ("id", "topic")):
            raise RequestError(f"{file.name}:{number}: not a message: it needs id and topic")
        headers = value.get("headers")
        queue = value.get("queue")
        yield Received(
            value["id"], value["topic"], headers if isinstance(headers, dict) else {}, value.get("body"),
            queue if isinstance(queue, str) else "",
        )


def _fate(context: Context, message: Received) -> str:
    """What the engine will say of the message: it is told at once, and acted on when the engine gets to it."""
    with reading(context.engine) as connection:
        return intake.preview(connection, message, topics.parse, context.settings)


@click.command()
@click.option("--until-idle", is_flag=True, help="Without a bus: work off the inbox, then exit.")
@click.pass_obj
def run(context: Context, until_idle: bool) -> int:
    """Consumer, engine and web together."""
    stop = service.begin()
    if until_idle:
        return work(context, stop, True)
    from rebuilder.cli.consumer import consuming
    from rebuilder.web.server import serving

    bus = config.bus(configuration_file(context.path))
    with serving(context.engine, context.settings, bus), consuming(context):
        return work(context, stop, False)


@click.command()
@click.pass_obj
def web(context: Context) -> None:
    """Serve the status pages, the API and the metrics."""
    from rebuilder.web.server import serving

    stop = service.begin()
    with serving(context.engine, context.settings, config.bus(configuration_file(context.path))):
        stop.wait()
