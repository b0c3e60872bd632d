"""Pauses before something is tried again: growing, bounded, and spread so that not all come back at once."""

from __future__ import annotations

import random
from collections.abc import Collection, Hashable, Iterable

from msgspec import Struct

LONGEST_PAUSE = 3600.0


def pause(attempt: int, first: float, longest: float = LONGEST_PAUSE) -> float:
    """Seconds before the next attempt, after the one of this number (from 1): twice as long each time, up to `longest`.

    Up to half of it is left out by chance, so that what failed together does not come back together.
    """
    return min(first * 2.0 ** min(attempt - 1, 32), longest) * random.uniform(0.5, 1.0)


class Failure(Struct, frozen=True):
    """How often something failed in a row, since when, why, and when it is tried again (monotonic seconds)."""

    count: int
    since: float
    reason: str
    until: float


class Backoff:
    """What failed in this life of the process, and must rest."""

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._failures: dict[Hashable, Failure] = {}

    def failed(self, subject: Hashable, reason: str, now: float) -> Failure:
        """It failed once more; when it may be tried again is in the answer."""
        before = self._failures.get(subject)
        count, since = (before.count + 1, before.since) if before else (1, now)
        failure = Failure(count, since, reason, now + pause(count, self._first, self._longest))
        self._failures[subject] = failure
        return failure

    def succeeded(self, subject: Hashable) -> None:
        """It works."""
        self._failures.pop(subject, None)

    def resting(self, subject: Hashable, now: float) -> bool:
        """Whether it is too early to try again."""
        failure = self._failures.get(subject)
        return failure is not None and now < failure.until

    def of(self, subject: Hashable) -> Failure | None:
        """How it failed last, where it has not worked since."""
        return self._failures.get(subject)

    def longest(self, subjects: Iterable[Hashable]) -> Failure | None:
        """Of these, what has failed for the longest time, where anything has not worked since it failed."""
        failures = [self._failures[subject] for subject in subjects if subject in self._failures]
        return min(failures, key=lambda failure: failure.since, default=None)

    def forget(self, keep: Collection[Hashable]) -> None:
        """Remember nothing of other subjects than these."""
        self._failures = {subject: failure for subject, failure in self._failures.items() if subject in keep}
