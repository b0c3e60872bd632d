"""fedora-messaging's callback: every message goes into the inbox, and only then back to the broker as done."""

from __future__ import annotations

import json
import logging
import time
from hashlib import sha256
from typing import Any

from fedora_messaging import config
from fedora_messaging.exceptions import ConfigurationException, Nack
from fedora_messaging.message import Message
from fedora_messaging.twisted.factory import FedoraMessagingFactoryV2
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from rebuilder.config import settings_of
from rebuilder.domain.errors import RequestError, UnreachableError
from rebuilder.domain.message import Received
from rebuilder.store import database, heartbeats, inbox

LONGEST_RECONNECT_WAIT = 30
PAUSE_BEFORE_RETURNING = 5.0
BEAT_SECONDS = 10.0

_log = logging.getLogger(__name__)


class WrongSettings(ConfigurationException, ValueError):
    """The consumer cannot start. A ValueError too: fedora-messaging's command shows those in one line."""


class Inbox:
    """Stores each message under its id and returns. Raises WrongSettings where it cannot be set up."""

    def __init__(self) -> None:
        # By default the waits grow to an hour: a broker that was away for a night would be left alone for one more.
        FedoraMessagingFactoryV2.maxDelay = LONGEST_RECONNECT_WAIT
        self._engine = opened_store()
        self._beaten = 0.0

    def __call__(self, message: Message) -> None:
        """Keep the message. Raises Nack when it could not be stored, after a pause, and nothing else.

        Without the pause the broker would deliver it again a thousand times a second.
        """
        try:
            inbox.receive(self._engine, [received(message)])
            self._beat()
        except (SQLAlchemyError, OSError) as error:
            self._give_back(message, f"the inbox cannot be written: {reason_of(error)}")
        except Exception as error:
            # Any other exception would end the consumer, and with it the reception of every other message.
            self._give_back(message, f"{type(error).__name__}: {reason_of(error)}")

    def _beat(self) -> None:
        """Say that messages get in, now and then: not getting on shows where messages wait and nobody says so."""
        now = time.time()
        if not 0 <= now - self._beaten < BEAT_SECONDS:
            try:
                with self._engine.begin() as connection:
                    heartbeats.beat(connection, "consumer", BEAT_SECONDS, now)
                self._beaten = now
            except SQLAlchemyError as error:  # the message is kept, which is what counts
                _log.warning("no heartbeat could be written: %s", reason_of(error))

    def _give_back(self, message: Message, reason: str) -> None:
        _log.error("message %s goes back to the queue: %s", message.id, reason)
        time.sleep(PAUSE_BEFORE_RETURNING)
        raise Nack from None


def opened_store() -> Engine:
    """The database of `[consumer_config]`. Raises WrongSettings."""
    try:
        settings = settings_of(dict(config.conf["consumer_config"]), "settings")
        return database.open_database(settings.database)
    except (RequestError, UnreachableError, SQLAlchemyError) as error:
        raise WrongSettings(reason_of(error)) from None


def received(message: Message) -> Received:
    """The message as the inbox keeps it. One without an id is known by a digest of its content."""
    headers, body = plain(message._headers or {}), plain(message.body)
    ident = message.id or digest(message.topic, headers, body)
    return Received(ident, message.topic, headers, body, message.queue or "")


def plain(value: Any) -> Any:
    """Nothing but JSON. Headers from a broker hold dates (x-death) and numbers may be NaN: databases take neither."""
    return json.loads(json.dumps(value, default=str), parse_constant=lambda _: None)


def digest(topic: str, headers: Any, body: Any) -> str:
    """The same for every delivery of one message: `x-` headers, which the broker writes, are left out."""
    sent = {key: value for key, value in headers.items() if not key.startswith("x-")}
    return f"sha256:{sha256(json.dumps([topic, sent, body], sort_keys=True).encode()).hexdigest()}"


def reason_of(error: Exception) -> str:
    """What went wrong, in one line."""
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
