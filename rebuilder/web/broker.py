"""Whether the broker can be reached, and what waits in our queues: asked seldom, and never for long."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Mapping

import pika
from msgspec import Struct, field
from msgspec.structs import replace
from pika.exceptions import AMQPChannelError, AMQPError

from rebuilder.config_file import Bus

SECONDS = 2.0
KEPT_SECONDS = 10.0


class Queue(Struct, frozen=True):
    """A queue: how many messages are ready in it, and how many consumers read it."""

    messages: int
    consumers: int


class State(Struct, frozen=True):
    """What the broker said. `trouble` is why it cannot be reached, or what is wrong with a queue; else empty.

    `waiting_seconds` is for how long there have been messages ready whenever it was asked.
    """

    reachable: bool
    trouble: str = ""
    queues: Mapping[str, Queue] = field(default_factory=dict)
    waiting_seconds: float = 0.0

    @property
    def waiting(self) -> int:
        """The messages that are ready, in all queues."""
        return sum(queue.messages for queue in self.queues.values())


class Broker:
    """The broker as it was a few seconds ago at most: whoever asks in the meantime costs it nothing."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._lock = threading.Lock()
        self._asked_at = float("-inf")
        self._empty_at = time.monotonic()
        self._state = State(False, "not asked yet")

    @property
    def state(self) -> State:
        """How the broker and the queue are; asked at most once in KEPT_SECONDS."""
        with self._lock:
            if time.monotonic() - self._asked_at > KEPT_SECONDS:
                state = self._ask()
                self._asked_at = time.monotonic()
                self._empty_at = self._empty_at if state.waiting else self._asked_at
                self._state = replace(state, waiting_seconds=self._asked_at - self._empty_at)
            return self._state

    def _ask(self) -> State:
        try:
            parameters = parameters_of(self._bus)
            # What pika makes of a refused connection names no reason.
            socket.create_connection((parameters.host, parameters.port), SECONDS).close()
            with pika.BlockingConnection(parameters) as connection:
                return _look(connection, self._bus.queues)
        except (AMQPError, OSError, ValueError) as error:
            return State(False, f"the broker cannot be reached: {_words(error)}")


def _look(connection: pika.BlockingConnection, queues: tuple[str, ...]) -> State:
    """A queue that is not there closes the channel that asks, so each has one of its own."""
    counts, trouble = {}, ""
    for name in queues:
        try:
            with connection.channel() as channel:
                answer = channel.queue_declare(name, passive=True).method
                counts[name] = Queue(answer.message_count, answer.consumer_count)
        except AMQPChannelError as error:
            trouble = f"queue {name}: {_words(error)}"
    return State(True, trouble, counts)


def parameters_of(bus: Bus) -> pika.URLParameters:
    """How pika connects to the bus: once, and with a time limit for each step."""
    parameters = pika.URLParameters(bus.url)
    parameters.socket_timeout = parameters.stack_timeout = parameters.blocked_connection_timeout = SECONDS
    parameters.connection_attempts = 1
    if bus.url.startswith("amqps:") and bus.tls:
        context = ssl.create_default_context(cafile=bus.tls.get("ca_cert"))
        if "certfile" in bus.tls:
            context.load_cert_chain(bus.tls["certfile"], bus.tls.get("keyfile"))
            parameters.credentials = pika.credentials.ExternalCredentials()
        parameters.ssl_options = pika.SSLOptions(context, parameters.host)
    return parameters


def _words(error: BaseException) -> str:
    """What went wrong, in one line."""
    reason = getattr(error, "reply_text", None) or getattr(error, "strerror", None) or error
    lines = str(reason).strip().splitlines()
    return lines[0] if lines else type(error).__name__
