"""Many names in one sentence, and the one line that counts of many."""

from __future__ import annotations

from collections.abc import Iterable


def few(names: Iterable[str], most: int = 3) -> str:
    """At most so many things are said: the names, or the first of them and how many there are beside these."""
    items = list(names)
    if len(items) <= most:
        return ", ".join(items)
    return f"{', '.join(items[: most - 1])} and {len(items) - most + 1} more"


def some(names: Iterable[str], most: int = 3) -> str:
    """At most so many of what is named, each once and in order, and whether there are others."""
    items = sorted(set(names))
    return f"{', '.join(items[:most])}{' and others' if len(items) > most else ''}"


def last_line(text: str) -> str:
    """The last line that says something: why a program gave up; "" where it has no output."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
