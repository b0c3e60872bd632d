"""A message as it came from the bus, before anything was made of it."""

from __future__ import annotations

import codecs
import json
from hashlib import sha256
from typing import Any

from msgspec import Struct

from rebuilder.domain.errors import RequestError

LONGEST_NAME = 255  # of an id or a topic: AMQP's short strings have no more bytes
DEEPEST = 100  # of lists and objects within each other; JSON of a few hundred ends in a RecursionError, here or there


SLOW_ENCODINGS = ("punycode", "idna")  # the time that they take grows with the square of the length


class Unstorable(RequestError):
    """A delivery that can never be kept as a message; the text says why."""


_ENCODER = json.JSONEncoder(default=str)  # made once: the functions of `json` make one for each value
_DECODER = json.JSONDecoder(parse_constant=lambda _: None)


class IncomingMessage(Struct, frozen=True):
    """One message. `id` is the key by which it counts once; `body` is whatever JSON the sender wrote."""

    id: str
    topic: str
    headers: dict[str, Any]
    body: Any


class Delivery(Struct, frozen=True):
    """What came, byte for byte: `body` is in `encoding`, and may be anything."""

    id: str
    topic: str
    headers: dict[str, Any]
    body: bytes
    encoding: str = "utf-8"

    def read(self) -> IncomingMessage:
        """The message in it, whatever its schema says. Raises Unstorable."""
        check_encoding(self.encoding)
        try:
            body = json.loads(self.body.decode(self.encoding))
        except (ValueError, LookupError, RecursionError) as error:
            raise Unstorable(f"the body cannot be read: {type(error).__name__}: {error}") from None
        return storable(self.id, self.topic, self.headers, body)


def check_encoding(name: str) -> None:
    """Raises Unstorable for an encoding that is not known, or of which a body may take hours."""
    try:
        codec = codecs.lookup(name)
    except (ValueError, LookupError) as error:
        raise Unstorable(f"the body cannot be read: {type(error).__name__}: {error}") from None
    if codec.name in SLOW_ENCODINGS:
        raise Unstorable(f"the body cannot be read: {codec.name} is not for bodies")


def storable(ident: str | None, topic: str, headers: Any, body: Any) -> IncomingMessage:
    """The message in a form that each database can keep. Raises Unstorable. One without an id is known by a digest."""
    if is_too_deep(body) or is_too_deep(headers):
        raise Unstorable(f"nested deeper than {DEEPEST} levels")
    headers, body = plain(headers if isinstance(headers, dict) else {}), plain(body)
    ident = ident or digest(topic, headers, body)
    for what, name in (("id", ident), ("topic", topic)):
        if not is_storable(name):
            raise Unstorable(f"the {what} is longer than {LONGEST_NAME} characters, or not printable: {name[:60]!r}")
    return IncomingMessage(ident, topic, headers, body)


def is_storable(name: str) -> bool:
    """Neither NUL, which PostgreSQL refuses, nor half of a surrogate pair, which has no encoding, is printable."""
    return len(name) <= LONGEST_NAME and name.isprintable()


def is_too_deep(value: Any) -> bool:
    """Whether lists and objects are nested too deeply; found without recursion."""
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer if isinstance(outer, list) else ())
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def plain(value: Any) -> Any:
    """Nothing but JSON. Headers from a broker hold dates (x-death) and numbers may be NaN: databases take neither."""
    return _DECODER.decode(_ENCODER.encode(value))


def digest(topic: str, headers: Any, body: Any) -> str:
    """The same for every delivery of one message: `x-` headers, which the broker writes, are left out."""
    sent = {key: value for key, value in headers.items() if not key.startswith("x-")}
    return f"sha256:{sha256(json.dumps([topic, sent, body], sort_keys=True).encode()).hexdigest()}"
