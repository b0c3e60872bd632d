"""What a builder answers, in groups that are recorded in one transaction each.

A transaction costs more than what is written in it. What is not recorded yet when the engine dies is asked again: the
intents were committed before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

MOST = 100
SECONDS = 0.25
T = TypeVar("T")


def together(answers: Iterable[T], clock: Callable[[], float] = time.monotonic) -> Iterator[list[T]]:
    """The answers, as many at a time as come within a moment: a slow builder's one by one."""
    group: list[T] = []
    began = clock()
    for answer in answers:
        group.append(answer)
        if len(group) == MOST or clock() - began >= SECONDS:
            yield group
            group, began = [], clock()
    if group:
        yield group
