"""The two clocks: the wall's tells people and other processes when, the monotonic one how long."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Whatever is scheduled or limited inside a process goes by `monotonic`: the wall's clock may be set."""

    def now(self) -> float:
        """Seconds since the epoch."""

    def monotonic(self) -> float:
        """Seconds from some point in the past, which no setting of the clock moves: only differences mean something."""


class SystemClock:
    """The machine's clocks."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()
