"""Processes of our own beside the engine, which are started again where they end, and end with us."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rebuilder import logs
from rebuilder.cli.context import Context
from rebuilder.config_file import configuration_file

log = logging.getLogger(__name__)
STOP_SECONDS = 2.0  # what it has in hand is done again by whoever comes next
RESTART_SECONDS = 5.0


@contextmanager
def beside(context: Context, name: str, command: Sequence[str]) -> Iterator[None]:
    """Keep the command running inside the block, with the same configuration as fedora-messaging's.

    Its standard input ends when we do, however that happens: it calls `end_with_parent`.
    """
    stop = threading.Event()
    keeper = threading.Thread(target=_keep, args=(name, command, environment(context), stop), name=name)
    keeper.start()
    try:
        yield
    finally:
        stop.set()
        keeper.join()


def verb(context: Context, *words: str) -> list[str]:
    """The command for one of our own verbs, with this configuration."""
    where = ["--config", str(context.path)] if context.path else []
    return [sys.executable, "-m", "rebuilder", *where, *words]


def environment(context: Context) -> dict[str, str]:
    """What such a process is started with: where the configuration is, and what is logged."""
    variables = dict(os.environ)
    path = configuration_file(context.path)
    if path is not None:
        variables["FEDORA_MESSAGING_CONF"] = variables["REBUILDER_CONFIG"] = str(path.resolve())
    if context.log:
        variables[logs.VARIABLE] = context.log
    return variables


def _keep(name: str, command: Sequence[str], environment: dict[str, str], stop: threading.Event) -> None:
    while not stop.is_set():
        # In a group of its own: a Ctrl-C is for us, and it is asked to end once, not twice.
        child = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, start_new_session=True)
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
        log.error("the %s ended with status %d; starting it again", name, child.returncode)
        stop.wait(RESTART_SECONDS)
