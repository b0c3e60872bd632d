"""The consumer as a process of its own, beside the engine."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rebuilder.cli.context import Context
from rebuilder.config import configuration_file

log = logging.getLogger(__name__)
STOP_SECONDS = 20
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


def _keep(context: Context, stop: threading.Event) -> None:
    path = configuration_file(context.path)
    environment = dict(os.environ)
    if path is not None:
        environment["FEDORA_MESSAGING_CONF"] = str(path.resolve())
    command = [sys.executable, "-m", "fedora_messaging.cli", "consume", "--callback=consumers:Inbox"]
    while not stop.is_set():
        child = subprocess.Popen(command, env=environment)
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
