"""The consumer as a process of its own, beside the engine."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pika

from rebuilder import config_file
from rebuilder.cli.context import Context
from rebuilder.cli.supervisor import beside
from rebuilder.config_file import configuration_file

log = logging.getLogger(__name__)
CONNECT_SECONDS = 5.0


@contextmanager
def consuming(context: Context) -> Iterator[None]:
    """Keep fedora-messaging's own consumer running with our callback; started again where it ends.

    Where no bus is configured there is none: fedora-messaging would try a broker on this machine for ever.
    """
    bus = config_file.bus(configuration_file(context.path))
    if not bus.configured:
        log.info("no bus is configured (amqp_url): messages come by `rebuilder replay` alone")
        yield
        return
    _look_for_broker(bus)
    command = [sys.executable, "-m", "rebuilder.cli.consume", "consume", "--callback=consumers:Inbox"]
    with beside(context, "consumer", command):
        yield


def _look_for_broker(bus: config_file.Bus) -> None:
    """Say in one line where there is no broker; fedora-messaging itself tries again, and tells nobody."""
    address = pika.URLParameters(bus.url)
    try:
        socket.create_connection((address.host, address.port), CONNECT_SECONDS).close()
    except OSError as error:
        where = f"{address.host}:{address.port}"
        log.warning("the broker at %s cannot be reached (%s); its messages come when it is there", where, error)
