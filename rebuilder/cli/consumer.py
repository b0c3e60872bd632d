"""The consumer as a process of its own, beside the engine."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
import pika

from rebuilder import config_file
from rebuilder.cli.context import Context
from rebuilder.cli.supervisor import beside, environment
from rebuilder.config_file import configuration_file
from rebuilder.domain.errors import RequestError

log = logging.getLogger(__name__)
CONNECT_SECONDS = 5.0
COMMAND = [sys.executable, "-m", "rebuilder.cli.consume", "consume", "--callback=consumers:Inbox"]


@contextmanager
def consuming(context: Context) -> Iterator[None]:
    """Keep fedora-messaging's own consumer running with our callback; started again where it ends.

    Where no bus is configured there is none: fedora-messaging would try a broker on this machine for ever.
    """
    bus = config_file.bus(configuration_file(context.path))
    if not bus.configured:
        log.info("no bus is configured (amqp_url): messages come by `rebuilder update` and `replay` alone")
        yield
        return
    _look_for_broker(bus)
    with beside(context, "consumer", [*COMMAND, "--beside"]):
        yield


@click.command()
@click.pass_obj
def consume(context: Context) -> None:
    """Store every message from the bus, before it is acknowledged. `rebuilder run` starts this by itself.

    It is fedora-messaging's own consumer, with its configuration file, our callback and our logs.
    """
    if context.settings and not config_file.bus(configuration_file(context.path)).configured:
        raise RequestError("no bus is configured: set amqp_url and [queues], as config/one-machine.toml does")
    os.execve(sys.executable, COMMAND, environment(context))


def _look_for_broker(bus: config_file.Bus) -> None:
    """Say in one line where there is no broker; fedora-messaging itself tries again, and says nothing."""
    address = pika.URLParameters(bus.url)
    try:
        socket.create_connection((address.host, address.port), CONNECT_SECONDS).close()
    except OSError as error:
        where = f"{address.host}:{address.port}"
        log.warning("the broker at %s cannot be reached (%s); its messages come when it is there", where, error)
