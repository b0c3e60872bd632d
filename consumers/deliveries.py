"""What fedora-messaging hands over, as the inbox keeps it; and what it cannot read, which it would lose or die of.

fedora-messaging decodes a delivery before it calls back: what fails its schema is dropped, and what ends in another
kind of error (an encoding that Python does not know, JSON nested 20,000 levels deep) ends the consumer, every time.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from fedora_messaging.message import Message
from jsonschema.exceptions import ValidationError

from consumers import wire
from rebuilder.domain.message import Delivery, IncomingMessage, Unstorable, check_encoding, storable
from rebuilder.store.data_errors import one_line

MakeMessage = Callable[[str, Any, bytes], Message]


class Undecodable(Message):
    """A delivery that cannot be made a message, as one. It is not published, and has no schema."""

    reason = ""


def guard() -> None:
    """Have fedora-messaging's consumer call back with whatever comes."""
    from fedora_messaging.twisted import consumer  # with an event loop, which only the consumer needs

    wire.guard()
    module: Any = consumer  # the name is imported there, not exported
    if not hasattr(module.get_message, "guarded"):
        module.get_message = guarded(module.get_message)


def guarded(make: MakeMessage) -> MakeMessage:
    """`make`, but what it cannot read becomes an Undecodable, and each message has its `raw` delivery."""

    def get_message(topic: str, properties: Any, body: bytes) -> Message:
        headers, encoding = properties.headers, properties.content_encoding  # which `make` fills in where missing
        message: Any
        try:
            check_encoding(encoding or "utf-8")
            message = make(topic, properties, body)
        except Exception as error:
            message = Undecodable(topic=topic, body={}, properties=properties)
            message.reason = _reason(error)
        message.raw = Delivery(properties.message_id or "", topic, headers or {}, body, encoding or "utf-8")
        return message  # type: ignore[no-any-return]

    get_message.guarded = True  # type: ignore[attr-defined]
    return get_message


def _reason(error: Exception) -> str:
    """In one line. What a schema refuses is not laid out in lines first: that takes minutes for a long body."""
    if isinstance(error, Unstorable):
        return str(error)
    refused = error.__cause__
    if isinstance(refused, ValidationError):
        error = type(error)(f"{refused.json_path}: {refused.message}")
    return f"{type(error).__name__}: {one_line(error)}"


def delivery_of(message: Message) -> Delivery:
    """What the message came as; made from the message where it did not come by the guarded consumer."""
    raw = getattr(message, "raw", None)
    if isinstance(raw, Delivery):
        return raw
    return Delivery(message.id or "", message.topic, message._headers or {}, json.dumps(message.body).encode())


def received(message: Message) -> IncomingMessage:
    """The message as the inbox keeps it. Raises Unstorable."""
    if isinstance(message, Undecodable):
        raise Unstorable(message.reason)
    return storable(message.id, message.topic, message._headers, message.body)
