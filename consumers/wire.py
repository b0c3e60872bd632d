"""What a broker passes on as it was sent, and pika cannot read: what ends its connection would end it every time.

AMQP's names are UTF-8, but RabbitMQ does not look; pika gives bytes for those that are not, which nothing behind it
expects. A date in a header may lie beyond the year 9999, and a number may be infinite.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from pika import data

_UNREADABLE = {b"T": ">Q", b"f": ">f", b"d": ">d"}  # a date in seconds, and numbers that pika makes whole ones
_decoded: Callable[[bytes, int], tuple[Any, int]] = data.decode_value


def guard() -> None:
    """Have pika read all of it in this process."""
    data.decode_short_string = _text
    data.decode_value = _value


def _text(encoded: bytes, offset: int) -> tuple[str, int]:
    """A name; a byte that is no UTF-8 shows as `\\xff`."""
    end = offset + 1 + encoded[offset]
    return encoded[offset + 1 : end].decode(errors="backslashreplace"), end


def _value(encoded: bytes, offset: int) -> tuple[Any, int]:
    """A value of a header; one for which Python has nothing as the number that was sent."""
    try:
        return _decoded(encoded, offset)
    except (ValueError, OverflowError):
        form = _UNREADABLE[encoded[offset : offset + 1]]
        (number,) = struct.unpack_from(form, encoded, offset + 1)
        return number, offset + 1 + struct.calcsize(form)
