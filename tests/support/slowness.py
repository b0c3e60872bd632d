"""Limits in seconds, as they are on a machine that is slow, or has other work.

A promise in seconds is about what a process waits for, not about the processor that it shares with other tests. What
such a limit tells apart, a wait that ends from one that does not, is many times longer.
"""

from __future__ import annotations

import time

ADDITIONS = 1_000_000
NOMINAL = 0.07  # seconds that they take a processor of the usual speed that has nothing else to do


def within(seconds: float) -> float:
    """So many seconds of an idle machine of the usual speed. Ask after what was timed: it takes a moment."""
    began, total = time.monotonic(), 0
    for number in range(ADDITIONS):
        total += number
    return seconds * max(1.0, (time.monotonic() - began) / NOMINAL)
