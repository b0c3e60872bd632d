"""Limits in seconds, as they are where others have the processor, too.

A promise in seconds is about what a process waits for, not about the processor that it shares with other tests. What
such a limit tells apart, a wait that ends from one that does not, is many times longer.
"""

from __future__ import annotations

import time

WORK = 0.1  # seconds of the processor


def within(seconds: float) -> float:
    """So many seconds of a processor of one's own: on an idle machine, these. It takes a moment to find out."""
    began, used = time.monotonic(), time.thread_time()
    while time.thread_time() - used < WORK:
        pass
    return seconds * max(1.0, (time.monotonic() - began) / WORK)
