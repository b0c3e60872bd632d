"""The publisher as a process of its own, beside the engine: it takes as much of a processor as the engine does.

It gives way to the engine: what happens is more urgent than that somebody hears of it, and even on processors of their
own two busy processes slow each other down.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rebuilder import config_file
from rebuilder.cli import setup
from rebuilder.cli.context import Context
from rebuilder.cli.parent_death import end_with_parent
from rebuilder.cli.supervisor import beside, verb
from rebuilder.config_file import configuration_file
from rebuilder.domain.errors import RequestError
from rebuilder.store import outbox
from rebuilder.store.database import reading
from rebuilder.store.lease import LeaseLost, Role

if TYPE_CHECKING:  # fedora-messaging takes a while to load, and no other verb needs it
    from crochet import EventualResult
    from fedora_messaging.message import Message

log = logging.getLogger(__name__)
LOOK_SECONDS = 0.2
DRAIN_SECONDS = 30.0
PUBLISH_SECONDS, CANCEL_SECONDS = 10, 1
LONGEST_RECONNECT_WAIT = 30
NICE = 10  # where there are not processors enough for both
BUSY_PERCENT, REST_SECONDS = 50.0, 1.0  # of one processor; with the engine busy, a batch a second goes out


@contextmanager
def publishing(context: Context, stop: threading.Event, *, drain: bool) -> Iterator[None]:
    """Publish what is announced inside the block, where anything is; with `drain` also what is left after it.

    That ends early when `stop` is set.
    """
    if not context.settings.announced:
        yield
        return
    with beside(context, "publisher", verb(context, "notify", "--beside")):
        yield
        if drain:
            _drain(context, stop)


def _drain(context: Context, stop: threading.Event) -> None:
    """Wait until everything is published; say what is not, where nothing gets through any more."""
    before, since = -1, time.monotonic()
    while (left := _left(context)) and time.monotonic() < since + DRAIN_SECONDS:
        if left != before:
            before, since = left, time.monotonic()
        if stop.wait(LOOK_SECONDS):
            break
    if left:
        log.warning("%d notifications are not published yet: they are kept, and `rebuilder engine` sends them", left)


def _left(context: Context) -> int:
    with reading(context.engine) as connection:
        return outbox.waiting(connection)


@click.command()
@click.option("--beside", "ends_with_parent", is_flag=True, hidden=True, help="Give way to the engine that started it.")
@click.pass_obj
def notify(context: Context, ends_with_parent: bool) -> None:
    """Publish what happens to images and waves on the bus. `engine` and `run` start one by themselves."""
    from rebuilder.engine import standby
    from rebuilder.engine.publisher import Publisher

    engine, stop = context.engine, setup.begin(context)
    if not context.settings.announced:
        log.info("nothing is announced (consumer_config.notify.enabled), so there is nothing to publish")
        stop.wait()
        return
    os.nice(NICE)
    if ends_with_parent:
        end_with_parent()
    send = sender(configuration_file(context.path))
    rest = giving_way(os.getppid()) if ends_with_parent else lambda: 0.0
    while not stop.is_set():
        with _standing_by_after(), standby.next_term(engine, Role.PUBLISHER, stop, lambda: None) as term:
            if term is not None:
                Publisher(term.engine, context.settings, send, rest=rest).run(stop)


@contextmanager
def _standing_by_after() -> Iterator[None]:
    """Who loses the lease stands by again."""
    try:
        yield
    except LeaseLost as error:
        log.error("%s: this one stands by", error)


def giving_way(pid: int) -> Callable[[], float]:
    """What says how many seconds to rest now: some where that process has been busy since it was last asked."""
    import psutil  # no other verb needs it

    engine = psutil.Process(pid)
    engine.cpu_percent()

    def rest() -> float:
        try:
            return REST_SECONDS if engine.cpu_percent() > BUSY_PERCENT else 0.0
        except psutil.NoSuchProcess:
            return 0.0

    return rest


def sender(path: Path | None) -> Callable[[Message], Callable[[], None]]:
    """fedora-messaging's own publishing, set up by the file: begins it. Raises RequestError where the file is wrong.

    What it gives returns once the broker has confirmed the message, or raises what publishing does.
    """
    import crochet
    from fedora_messaging import api, config
    from fedora_messaging.exceptions import ConfigurationException, PublishReturned, PublishTimeout
    from fedora_messaging.twisted.factory import FedoraMessagingFactoryV2

    from rebuilder.engine.validation import validate

    try:
        config.conf.load_config(config_path=None if path is None else str(path))
        config.conf.update(config_file.with_credentials(dict(config.conf)))
    except ConfigurationException as error:
        raise RequestError(f"{path}: {error}") from None
    # By default the waits grow to an hour, and each error is logged as a traceback: the publisher has its own words.
    FedoraMessagingFactoryV2.maxDelay = LONGEST_RECONNECT_WAIT
    for name in ("fedora_messaging", "twisted", "pika"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    begin = crochet.run_in_reactor(api.twisted_publish)
    # The first message after an error goes by itself: many at once would each open a channel.
    open_ = False

    def send(message: Message) -> Callable[[], None]:
        nonlocal open_
        message.validate = partial(validate, message)  # type: ignore[method-assign]  # it is called by publishing
        if open_:
            return partial(outcome, begin(message), time.monotonic() + PUBLISH_SECONDS)
        try:
            api.publish(message, timeout=PUBLISH_SECONDS)
        except Exception as error:
            return partial(failed, error)
        open_ = True
        return lambda: None

    def outcome(result: EventualResult[Any], deadline: float) -> None:
        nonlocal open_
        try:
            result.wait(timeout=max(0.0, deadline - time.monotonic()))
        except PublishReturned:
            raise
        except crochet.TimeoutError:
            open_ = False
            result.cancel()
            with suppress(Exception):  # that it was canceled is heard, else it is told as a traceback
                result.wait(timeout=CANCEL_SECONDS)
            raise PublishTimeout(f"no answer within {PUBLISH_SECONDS} s") from None
        except Exception:
            open_ = False
            raise

    return send


def failed(error: Exception) -> None:
    """The outcome of what has failed already."""
    raise error
