"""The consumer as a process of its own, beside the engine."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pika

from rebuilder import config
from rebuilder.cli.context import Context
from rebuilder.config import configuration_file

log = logging.getLogger(__name__)
STOP_SECONDS = 20
CONNECT_SECONDS = 5.0
START = "from fedora_messaging.cli import cli; cli()"  # the `fedora-messaging` command, wherever its script is
RESTART_SECONDS = 5.0


@contextmanager
def consuming(context: Context, stop: threading.Event) -> Iterator[None]:
    """Keep fedora-messaging's own consumer running with our callback; started again where it ends."""
    keeper = threading.Thread(target=_keep, args=(context, stop), name="consumer")
    keeper.start()
    try:
        yield
    finally:
        stop.set()
        keeper.join()


def _look_for_broker(path: Path | None) -> None:
    """Say in one line where there is no broker; fedora-messaging itself tries again, and tells nobody."""
    url = config.amqp_url(path)
    address = pika.URLParameters(url)
    try:
        socket.create_connection((address.host, address.port), CONNECT_SECONDS).close()
    except OSError as error:
        where = f"{address.host}:{address.port}"
        log.warning("the broker at %s cannot be reached (%s); its messages come when it is there", where, error)


def _keep(context: Context, stop: threading.Event) -> None:
    path = configuration_file(context.path)
    environment = dict(os.environ)
    if path is not None:
        environment["FEDORA_MESSAGING_CONF"] = str(path.resolve())
    command = [sys.executable, "-c", START, "consume", "--callback=consumers:Inbox"]
    _look_for_broker(path)
    while not stop.is_set():
        # In a group of its own: a Ctrl-C is for us, and it is asked to end once, not twice.
        child = subprocess.Popen(command, env=environment, start_new_session=True)
        while child.poll() is None and not stop.wait(0.2):
            pass
        if child.returncode is None:
            child.terminate()
            try:
                child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            return
        log.error("the consumer ended with status %d; starting it again", child.returncode)
        stop.wait(RESTART_SECONDS)
