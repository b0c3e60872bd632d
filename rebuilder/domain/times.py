"""Moments and lengths of time as people and programs read them, one way each. Moments are in UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

KEPT = 2000  # moments: a long answer has few, again and again
UNITS = ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))


@lru_cache(KEPT)
def written(moment: datetime) -> str:
    """A moment as JSON has it, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def written_seconds(seconds: float) -> str:
    """The same of seconds since the epoch."""
    return written(datetime.fromtimestamp(seconds, UTC))


def format_time(moment: datetime | float | None) -> str:
    """A moment, as such or in seconds since the epoch, as people read it; "" for none."""
    if moment is None:
        return ""
    read = moment if isinstance(moment, datetime) else datetime.fromtimestamp(moment, UTC)
    return f"{read.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"


def format_duration(seconds: float) -> str:
    """A length of time in its two largest units: 12 s, 3 min 20 s, 2 h 5 min."""
    whole = max(0, round(seconds))
    for unit, word, smaller, small_word in UNITS:
        if whole >= unit:
            rest = whole % unit // smaller
            return f"{whole // unit} {word} {rest} {small_word}" if rest else f"{whole // unit} {word}"
    return f"{whole} s"


def approx_duration(seconds: float) -> str:
    """A length of time as people say it: by its largest unit alone."""
    return " ".join(format_duration(seconds).split()[:2])
