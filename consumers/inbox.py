"""fedora-messaging's callback: every message goes into the inbox, and only then back to the broker as done."""

from __future__ import annotations

import logging
import os
import threading
import time
from functools import partial

from fedora_messaging import config
from fedora_messaging.exceptions import ConfigurationException, HaltConsumer, Nack
from fedora_messaging.message import Message
from fedora_messaging.twisted.factory import FedoraMessagingFactoryV2
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from twisted.internet import reactor

from consumers import deliveries
from rebuilder import logs
from rebuilder.config import settings_of
from rebuilder.domain.errors import RequestError, UnreachableError
from rebuilder.store import database, heartbeats, inbox
from rebuilder.store.data_errors import one_line
from rebuilder.store.sqlite_file import Replaced

LONGEST_RECONNECT_WAIT = 30
PAUSE_SECONDS = 5.0
HOLD_SECONDS = 900.0  # RabbitMQ's consumer_timeout is 30 minutes
BEAT_SECONDS = 10.0
END_SECONDS = 4.0
UNREACHABLE = 3

_log = logging.getLogger(__name__)


class WrongSettings(ConfigurationException, ValueError):
    """The consumer cannot start. A ValueError too: fedora-messaging's command shows those in one line."""


class Inbox:
    """Stores each message under its id and returns. Raises WrongSettings where it cannot be set up."""

    def __init__(self) -> None:
        logs.set_levels()
        # By default the waits grow to an hour: a broker that was away for a night would not be tried for one more.
        FedoraMessagingFactoryV2.maxDelay = LONGEST_RECONNECT_WAIT
        deliveries.guard()
        self._engine = opened_store()
        self._of_thread = threading.local()  # a queue's messages come one after the other, and queues side by side
        self._beaten = 0.0
        self._ending = threading.Event()
        reactor.addSystemEventTrigger("before", "shutdown", self._end)  # type: ignore[arg-type]

    def _end(self) -> None:
        """Let go of the message in hand: a database that stands still keeps no process, and the broker has it still."""
        self._ending.set()
        last = threading.Timer(END_SECONDS, os._exit, (0,))
        last.daemon = True
        last.start()

    def __call__(self, message: Message) -> None:
        """Keep the message, or set it aside. Raises Nack when it could not be stored.

        Raises HaltConsumer where the database is not the one that was opened: who is started next opens the new one.

        While the database is away the message is held, for a quarter of an hour: each return to the broker counts
        towards the queue's delivery limit, and without a pause there would be a thousand in a second.
        """
        give_back_at = time.monotonic() + HOLD_SECONDS
        while reason := self._keep(message):
            _log.error("message %s waits: %s", message.id, reason)
            if self._ending.wait(PAUSE_SECONDS) or time.monotonic() >= give_back_at:
                _log.error("message %s goes back to the queue: %s", message.id, reason)
                raise Nack

    def _keep(self, message: Message) -> str:
        """Why the message could not be kept; nothing where it is."""
        try:
            if self._take(message) == "dead":
                _log.error("message %s is set aside: see `rebuilder inbox dead`", message.id)
            self._beat()
        except Replaced as error:
            raise HaltConsumer(UNREACHABLE, str(error), requeue=True) from None
        except (SQLAlchemyError, OSError) as error:
            return f"the inbox cannot be written: {one_line(error)}"
        except Exception as error:
            # Any other exception would end the consumer, and with it the reception of every other message.
            return f"{type(error).__name__}: {one_line(error)}"
        return ""

    def _take(self, message: Message) -> inbox.Fate:
        """A connection that has ended since the last message is no reason to wait: the next one is made at once."""
        delivery, received = deliveries.delivery_of(message), partial(deliveries.received, message)
        try:
            return inbox.take(self._connection, received, delivery)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
        return inbox.take(self._connection, received, delivery)

    @property
    def _connection(self) -> Connection:
        """The thread's own, which stays open; one that has ended is made anew by whatever is asked of it next."""
        connection: Connection | None = getattr(self._of_thread, "connection", None)
        if connection is None:
            connection = self._of_thread.connection = self._engine.connect()
        return connection

    def _beat(self) -> None:
        """Say that messages get in, now and then: messages that wait without that show a consumer that hangs."""
        now = time.time()
        if not 0 <= now - self._beaten < BEAT_SECONDS:
            try:
                with self._connection.begin():
                    heartbeats.record_heartbeat(self._connection, "consumer", BEAT_SECONDS, now)
                self._beaten = now
            except SQLAlchemyError as error:  # the message is kept, which is what counts
                _log.warning("no heartbeat could be written: %s", one_line(error))


def opened_store() -> Engine:
    """The database of `[consumer_config]`. Raises WrongSettings."""
    try:
        settings = settings_of(dict(config.conf["consumer_config"]), "settings")
        return database.open_database(settings.database, single=True)
    except (RequestError, UnreachableError, SQLAlchemyError) as error:
        raise WrongSettings(one_line(error)) from None
