"""`run`, `engine`, `web`: the verbs that make things happen."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import AbstractContextManager, nullcontext

import click

from consumers import topics
from rebuilder import config_file
from rebuilder.builders.plugin import plugin_of
from rebuilder.cli import setup
from rebuilder.cli.context import Context
from rebuilder.cli.parent_death import end_with_parent
from rebuilder.cli.publisher import publishing
from rebuilder.cli.supervisor import beside, verb
from rebuilder.config_file import configuration_file
from rebuilder.distribution import needs
from rebuilder.domain.errors import RequestError
from rebuilder.engine import factory, standby
from rebuilder.engine.loop import Loop, Runtime
from rebuilder.engine.systemd import notify
from rebuilder.store import rebuilds
from rebuilder.store.database import reading
from rebuilder.store.lease import LeaseLost, Role, Term

log = logging.getLogger(__name__)


@click.command()
@click.option("--until-idle", is_flag=True, help="Exit when nothing is left to do; with 1 where a rebuild failed.")
@click.option("--without-publisher", is_flag=True, help="Publish nothing: `rebuilder notify` does it.")
@click.pass_obj
def engine(context: Context, until_idle: bool, without_publisher: bool) -> int:
    """Plan and drive the rebuilds. It may be killed at any point: the next one continues from there."""
    return work(context, setup.begin(context), until_idle, publish=not without_publisher)


def work(context: Context, stop: threading.Event, until_idle: bool, *, publish: bool = True) -> int:
    """Run the engine until `stop` is set or, with `until_idle`, nothing is left; 1 where a rebuild failed.

    Where another one acts it waits, and acts when that one does not any more. With `until_idle` it is refused instead.
    """
    notify("READY=1")
    try:
        while not _served(context, stop, until_idle, publish):
            pass
    finally:
        notify("STOPPING=1")
    with reading(context.engine) as connection:
        return int(until_idle and rebuilds.any_stopped(connection))


def _served(context: Context, stop: threading.Event, until_idle: bool, publish: bool) -> bool:
    """Serve one term; whether that was to the end, and not until another engine took over."""
    try:
        with standby.next_term(context.engine, Role.ENGINE, stop, _alive, until_idle=until_idle) as term:
            if term is not None:
                _act(context, term, stop, until_idle, publish)
    except LeaseLost as error:
        if until_idle:
            raise RequestError(str(error)) from None
        log.error("%s: nothing more is written, and this one stands by", error)
        return False
    return True


def _act(context: Context, term: Term, stop: threading.Event, until_idle: bool, publish: bool) -> None:
    """Drive the rebuilds for a term. Raises LeaseLost."""
    with publishing(context, stop, drain=until_idle) if publish else nullcontext(), _traced(context):
        builder = factory.builder_for(term.engine, context.settings)
        for finding in plugin_of(context.settings).warnings(context.settings):
            log.warning("%s: %s", finding.about, finding.fault)
        hub = factory.koji_session_for(context.settings)
        loop = Loop(term.engine, context.settings, builder, topics.parse, hub=hub, runtime=Runtime(alive=_alive))
        try:
            loop.run(stop, until_idle=until_idle)
            loop.end()
        finally:
            setup.calls_abandoned |= not loop.close()


def _traced(context: Context) -> AbstractContextManager[None]:
    """Traces of what is done inside, where a collector is configured. Raises RequestError without the extra."""
    settings = context.settings.traces
    if not settings.endpoint:
        return nullcontext()
    with needs("otel", "consumer_config.traces"):
        from rebuilder.engine.otel import exporting
    return exporting(context.engine, settings, time.time())


def _alive() -> None:
    notify("WATCHDOG=1")


@click.command()
@click.option("--until-idle", is_flag=True, help="Without a bus: process the inbox, then exit.")
@click.pass_obj
def run(context: Context, until_idle: bool) -> int:
    """Consumer, engine and web together, each a process of its own."""
    stop = setup.begin(context)
    if until_idle:
        return work(context, stop, True)
    from rebuilder.cli.consumer import consuming
    with needs("web", "the web"):
        from rebuilder.web.server import listening

    # A database or an address that is wrong is told at once, and not by a process that is started again.
    context.engine.dispose()
    with listening(context.settings):
        pass
    with beside(context, "web", verb(context, "web", "--beside")), consuming(context):
        return work(context, stop, False)


@click.command()
@click.option("--beside", "ends_with_parent", is_flag=True, hidden=True, help="End when its parent process ends.")
@click.pass_obj
def web(context: Context, ends_with_parent: bool) -> None:
    """Serve the status pages, the API and the metrics."""
    with needs("web", "the web"):
        from rebuilder.web.server import serving

    stop = setup.begin(context)
    if ends_with_parent:
        end_with_parent()
    with serving(context.engine, context.settings, config_file.bus(configuration_file(context.path))):
        stop.wait()
