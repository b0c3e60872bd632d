"""`run`, `engine`, `web`: the verbs that make things happen."""

from __future__ import annotations

import threading

import click

from consumers import topics
from rebuilder import config
from rebuilder.cli import service
from rebuilder.cli.context import Context
from rebuilder.cli.notifier import publishing
from rebuilder.config import configuration_file
from rebuilder.engine import workshop
from rebuilder.engine.loop import Loop
from rebuilder.engine.systemd import notify
from rebuilder.store import rebuilds
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
