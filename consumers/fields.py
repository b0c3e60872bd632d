"""Typed access to the fields of a message's body.

Senders leave out keys, write null, numbers as strings, and keys of their own. A required field that is missing or wrong
raises InvalidMessage with its full name; an optional one that is wrong counts as missing.
"""

from __future__ import annotations

import re
from typing import Any, TypeGuard

from rebuilder.domain.change import InvalidMessage
from rebuilder.domain.rpm import EVR, LARGEST_EPOCH, SourceBuild

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")
VERSION = re.compile(r"[A-Za-z0-9._+~^]+")
LARGEST_NUMBER = 2**63 - 1
LONGEST_SHOWN = 60
LONGEST_TEXT = 255  # four bytes a character, and three of them in one index: PostgreSQL's have keys of 2,700 bytes
LONGEST_URL = 2000
MOST_INNERS = 5000


class Fields:
    """An object in a body, which knows its own place there. Raises InvalidMessage where it is not an object."""

    def __init__(self, value: Any, path: str = "") -> None:
        if not isinstance(value, dict):
            raise InvalidMessage(f"{path or 'body'}: must be an object, not {shown(value)}")
        self._value: dict[str, Any] = value
        self._path = path

    def name_of(self, key: str) -> str:
        """The full name of one of its fields, as `update.release.name`."""
        return f"{self._path}.{key}" if self._path else key

    def text(self, key: str) -> str:
        """A required text. Raises InvalidMessage unless it is a string of printable characters, and not too many."""
        value = self._value.get(key)
        if not is_text(value):
            raise InvalidMessage(f"{self.name_of(key)}: must be a text, not {shown(value)}")
        if len(value) > LONGEST_TEXT:
            raise InvalidMessage(f"{self.name_of(key)}: longer than {LONGEST_TEXT} characters: {shown(value)}")
        return str(value)

    def optional_text(self, key: str, longest: int = LONGEST_TEXT) -> str:
        """A text of at most so many characters; empty where it is missing or something else."""
        value = self._value.get(key)
        return str(value) if is_text(value) and len(value) <= longest else ""

    def prose(self, key: str) -> str:
        """A text for people, of any length and with lines; empty where there is none."""
        value = self._value.get(key)
        return value if isinstance(value, str) else ""

    def optional_inners(self, key: str) -> tuple[Fields, ...]:
        """Those objects that a list has; none where there is no list."""
        values = self._value.get(key)
        items = values[:MOST_INNERS] if isinstance(values, list) else ()
        return tuple(Fields(value, f"{self.name_of(key)}[{at}]") for at, value in enumerate(items) if is_object(value))

    def number(self, key: str) -> int:
        """A required whole number, perhaps written as a string. Raises InvalidMessage."""
        number = whole(self._value.get(key), LARGEST_NUMBER)
        if number is None:
            raise InvalidMessage(f"{self.name_of(key)}: must be a whole number, not {shown(self._value.get(key))}")
        return number

    def optional_number(self, key: str, largest: int = LARGEST_NUMBER) -> int | None:
        """A whole number from 0 to `largest`; None where it is missing or something else."""
        return whole(self._value.get(key), largest)

    def inner(self, key: str) -> Fields:
        """A required object. Raises InvalidMessage."""
        return Fields(self._value.get(key), self.name_of(key))

    def optional_inner(self, key: str) -> Fields | None:
        """An object; None where it is missing or something else."""
        value = self._value.get(key)
        return Fields(value, self.name_of(key)) if isinstance(value, dict) else None

    def inners(self, key: str) -> tuple[Fields, ...]:
        """A required list of objects. Raises InvalidMessage."""
        values = self._value.get(key)
        if not isinstance(values, list):
            raise InvalidMessage(f"{self.name_of(key)}: must be a list, not {shown(values)}")
        if len(values) > MOST_INNERS:
            raise InvalidMessage(f"{self.name_of(key)}: more than {MOST_INNERS} entries")
        return tuple(Fields(value, f"{self.name_of(key)}[{place}]") for place, value in enumerate(values))

    def epoch(self) -> int | None:
        """The `epoch`, or None where it is not known."""
        return self.optional_number("epoch", LARGEST_EPOCH)

    def build(self) -> SourceBuild:
        """The source build in `name`, `version` and `release`. Raises InvalidMessage.

        Unlike an NVR in one piece, these need no guessing: a version without a digit (as of a container) is accepted.
        """
        name = self._matching("name", NAME)
        return SourceBuild(name, EVR(None, self._matching("version", VERSION), self._matching("release", VERSION)))

    def nvr(self) -> SourceBuild:
        """The source build in `nvr`. Raises InvalidMessage."""
        text = self.text("nvr")
        parts = text.rsplit("-", 2)
        patterns = (NAME, VERSION, VERSION)
        if len(parts) != 3 or not all(map(re.Pattern.fullmatch, patterns, parts)):
            raise InvalidMessage(f"{self.name_of('nvr')}: not a name-version-release: {shown(text)}")
        name, version, release = parts
        return SourceBuild(name, EVR(None, version, release))

    def _matching(self, key: str, pattern: re.Pattern[str]) -> str:
        text = self.text(key)
        if not pattern.fullmatch(text):
            raise InvalidMessage(f"{self.name_of(key)}: not an RPM {key}: {shown(text)}")
        return text


def is_object(value: Any) -> bool:
    """Whether it is an object of JSON."""
    return isinstance(value, dict)


def is_text(value: Any) -> TypeGuard[str]:
    """Printable, so that it can be shown in a log or on a terminal as it is."""
    return isinstance(value, str) and bool(value.strip()) and value.isprintable()


def whole(value: Any, largest: int) -> int | None:
    """A number from 0 to `largest`, or None. JSON's true is none, and a text of too many digits is not converted."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= len(str(largest)):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= largest else None


def shown(value: Any) -> str:
    """A value for a one-line reason: the kind of what is nested, the beginning of what is long."""
    if value is None:
        return "nothing"
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = repr(value[:LONGEST_SHOWN]) if isinstance(value, str) else repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"
