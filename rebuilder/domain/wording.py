"""Many names in one sentence."""

from __future__ import annotations

from collections.abc import Iterable


def few(names: Iterable[str], most: int = 3) -> str:
    """At most so many things are said: the names, or the first of them and how many there are beside these."""
    found = list(names)
    if len(found) <= most:
        return ", ".join(found)
    return f"{', '.join(found[: most - 1])} and {len(found) - most + 1} more"
