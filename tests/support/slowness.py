"""Limits in seconds, as they are where others have the processor, too.

A promise in seconds is about what a process waits for, not about the processor that it shares with other tests. What
such a limit tells apart, a wait that ends from one that does not, is many times longer.
"""

from __future__ import annotations

import time

from msgspec import Struct

WORK = 0.1  # seconds of the processor


class within(Struct, frozen=True):  # noqa: N801  # `assert took < within(5)` reads as what it is
    """So many seconds of a processor of one's own. Only what takes longer makes it find out what others have of it."""

    seconds: float

    def __gt__(self, took: float) -> bool:
        return took < self.seconds or took < stretched(self.seconds)


def stretched(seconds: float) -> float:
    """The same as seconds of the clock: on an idle machine, these. It takes a moment to find out."""
    began, used = time.monotonic(), time.thread_time()
    while time.thread_time() - used < WORK:
        pass
    return seconds * max(1.0, (time.monotonic() - began) / WORK)
