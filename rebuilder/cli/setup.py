"""What the processes that stay have in common, and commands that end soon do not need."""

from __future__ import annotations

import faulthandler
import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
from functools import partial
from typing import NoReturn

from rebuilder import logs
from rebuilder.cli.context import Context

OFTEN = 700  # objects between collections: Python's own default
END_SECONDS = 4.0  # after a signal nothing is waited for any longer: all that counts is in the database

log = logging.getLogger(__name__)


calls_abandoned = False  # whether calls still hang in threads that Python would wait for


def leave(status: int) -> NoReturn:
    """End the process now, whatever its threads do."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


def begin(context: Context) -> threading.Event:
    """Log to standard error, and keep little garbage. A SIGTERM or a Ctrl-C sets the event: it is no error.

    SIGUSR1 prints where each thread is, and the process goes on. Raises RequestError where the settings are wrong.
    """
    gc.set_threshold(OFTEN)
    settings = context.settings.log
    logs.set_up(context.log or settings.level, settings.format)
    faulthandler.register(signal.SIGUSR1, file=sys.__stderr__ or sys.stderr)
    stop = threading.Event()
    listener, teller = socket.socketpair()
    teller.setblocking(False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    # A database that stands still may keep the main thread from ever running the handlers: this needs it for nothing.
    signal.set_wakeup_fd(teller.detach(), warn_on_full_buffer=False)
    for work in (partial(_hear, listener, stop), partial(_end_in_time, stop)):
        threading.Thread(target=work, name="end", daemon=True).start()
    return stop


def _hear(listener: socket.socket, stop: threading.Event) -> None:
    listener.recv(1)
    stop.set()


def _end_in_time(stop: threading.Event) -> None:
    stop.wait()
    time.sleep(END_SECONDS)
    log.warning("ends without waiting any longer for calls that do not answer: the next process continues from here")
    leave(0)
