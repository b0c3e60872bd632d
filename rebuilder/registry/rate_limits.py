"""Registries that answer 429 are not asked again for as long as they say, by all threads of this process."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from threading import Lock

from rebuilder.registry.errors import Cause, registry_error

LONGEST = 600.0  # seconds that one answer keeps us away
UNSAID = 2.0  # seconds, doubled each time, where a registry does not say how long

_until: dict[str, float] = {}  # by host: when it may be asked again (monotonic seconds)
_lock = Lock()


def keep_away(host: str, seconds: float) -> None:
    """The registry asked for that many seconds of patience; no more than LONGEST count."""
    with _lock:
        _until[host] = max(_until.get(host, 0.0), time.monotonic() + min(max(seconds, 0.0), LONGEST))


def wait(spec: str, seconds: float) -> float:
    """Wait until the registry of the full name may be asked; how long that took.

    Raises RegistryError at once where it takes longer than `seconds`.
    """
    host = spec.partition("/")[0]
    with _lock:
        left = _until.get(host, 0.0) - time.monotonic()
        if left <= 0:
            _until.pop(host, None)
            return 0.0
    if left > seconds:
        raise registry_error(spec, f"it asks for a pause, next try in {left:.0f} s", Cause.BUSY)
    time.sleep(left)
    return left


def asked_for(headers: Mapping[str, str], attempt: int = 0) -> float:
    """The seconds that an answer's Retry-After asks for, which is a number or a date of HTTP.

    A date counts from the server's own: its clock may differ from ours. With none, or one that makes no sense, the
    pause grows with the attempt (from 0).
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:12]), LONGEST)
    until = _moment(text)
    if until is None:
        return min(UNSAID * 2.0**attempt, LONGEST)
    now = _moment(headers.get("date", "")) or datetime.now(UTC)
    return (until - now).total_seconds()


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
