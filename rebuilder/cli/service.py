"""What the processes that stay have in common, and commands that end soon do not need."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
from typing import NoReturn

OFTEN = 700  # objects between collections: Python's own default


calls_abandoned = False  # whether calls still hang in threads that Python would wait for


def leave(status: int) -> NoReturn:
    """End the process now, whatever its threads do."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


def begin() -> threading.Event:
    """Log to standard error, and keep little garbage. A SIGTERM or a Ctrl-C sets the event: it is no error."""
    gc.set_threshold(OFTEN)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    for noisy in ("alembic", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("pika").setLevel(logging.CRITICAL)  # a broker that is away is what health and metrics tell
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
