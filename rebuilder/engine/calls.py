"""Calls to the world, made beside the loop: on a bounded pool of threads, each with a clock of its own.

The loop starts calls and takes their answers; it never waits for one. A call that has not been answered in time is
reported once as an InfrastructureError and gives its place back; its thread ends some day, and what it says then
still comes, as a late answer.
"""

from __future__ import annotations

import itertools
import logging
import queue
import time
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from enum import StrEnum
from typing import Any

from msgspec import Struct

from rebuilder.config import CallSettings
from rebuilder.domain.errors import InfrastructureError
from rebuilder.engine.clock import Clock

log = logging.getLogger(__name__)
CLOSE_SECONDS = 1.0
FOLLOWING_SECONDS, MOST_FOLLOWING = 0.005, 200  # answers that come so close together are taken together


class Kind(StrEnum):
    """What calls are made for. Each kind has places and a time limit of its own, so that none starves another."""

    SUBMIT = "submit"
    FIND = "find"
    POLL = "poll"
    RESULT = "result"
    CANCEL = "cancel"
    LOOKUP = "lookup"  # what Koji says of changes
    REPOSITORY = "repository"  # which repositories take from a tag
    WITHDRAWAL = "withdrawal"  # whether builds that left a tag are still offered
    TIDY = "tidy"  # the removal of what ended builds left
    TEST = "test"  # of a proven build, in the new image
    PUSH = "push"  # of a proven build, to registries
    ROLLBACK = "rollback"  # whether registries still have an earlier build
    PROMOTE = "promote"  # the move of an image's name to a proven build
    RECONCILE = "reconcile"  # what Koji's tags have newer than the images
    INVENTORY = "inventory"
    EXTERNALS = "externals"  # what registries have of external parents


class Answer(Struct, frozen=True):
    """What came of a call about `subject`: `value`, or the exception that it raised.

    `seconds` is how long it took. An `overdue` call goes on in its thread; its answer may still come, `late`.
    """

    kind: Kind
    subject: Hashable
    value: Any = None
    error: Exception | None = None
    seconds: float = 0.0
    overdue: bool = False
    late: bool = False


class Outstanding(Struct, frozen=True):
    """The calls of a kind that are out: how many, how many of them past their time limit, and the oldest's seconds."""

    count: int
    overdue: int
    oldest: float


class _ThreadedCall(Struct):
    kind: Kind
    subject: Hashable
    began: float
    heard: float  # the last sign of life: its time limit counts from here
    overdue: bool = False


class Calls:
    """Starts calls and hands out their answers. Used by one thread, the loop's; only the calls run in others."""

    def __init__(self, settings: CallSettings, clock: Clock, executor: Executor | None = None) -> None:
        self._settings = settings
        self._clock = clock
        # Threads are made as they are needed. Overdue calls keep theirs, so there is room for as many again.
        self._executor = executor or ThreadPoolExecutor(2 * len(Kind) * settings.at_once, "call")
        self._answers: queue.SimpleQueue[tuple[int, Future[Any]]] = queue.SimpleQueue()
        self._out: dict[int, _ThreadedCall] = {}
        self._subjects: dict[tuple[Kind, Hashable], int] = {}
        self._numbers = itertools.count()

    def room(self, kind: Kind) -> int:
        """How many more calls of the kind may start now."""
        timely, overdue = self._counts(kind)
        return max(0, min(self._settings.at_once - timely, 2 * self._settings.at_once - timely - overdue))

    def _counts(self, kind: Kind) -> tuple[int, int]:
        flags = [call.overdue for call in self._out.values() if call.kind is kind]
        return flags.count(False), flags.count(True)

    def is_out(self, kind: Kind, subject: Hashable) -> bool:
        """Whether a call about the subject is out. An overdue submission still is: it may yet become a build."""
        return (kind, subject) in self._subjects

    def any_out(self, *kinds: Kind) -> bool:
        """Whether a call of these kinds, or of any, is out and still in its time."""
        return any(not call.overdue and (not kinds or call.kind in kinds) for call in self._out.values())

    def start(self, kind: Kind, subject: Hashable, do: Callable[[], Any]) -> bool:
        """Make the call, unless one about the subject is out or all places of its kind are taken; whether it began."""
        if self.is_out(kind, subject) or not self.room(kind):
            return False
        number, now = next(self._numbers), self._clock.monotonic()
        log.debug("%s %.200s: the call begins", kind, subject)
        self._out[number] = _ThreadedCall(kind, subject, now, now)
        self._subjects[kind, subject] = number
        future = self._executor.submit(do)
        future.add_done_callback(lambda done: self._answers.put((number, done)))
        return True

    def heard_of(self, kind: Kind, subject: Hashable) -> None:
        """A long call made progress: its time limit counts anew. May be said from the call's own thread."""
        number = self._subjects.get((kind, subject))
        call = self._out.get(number) if number is not None else None
        if call is not None:
            call.heard = self._clock.monotonic()

    def answers(self) -> list[Answer]:
        """The answers that have come, and a report of each call whose time has just run out. Does not wait."""
        answers: list[Answer] = []
        while True:
            try:
                number, future = self._answers.get_nowait()
            except queue.Empty:
                break
            answer = self._answer(number, future)
            if answer is not None:
                answers.append(answer)
        return answers + self._run_out()

    def wait(self, seconds: float) -> None:
        """Return as soon as an answer has come, with those that follow at once; at the latest after so many seconds.

        Answers that are recorded together cost little more than one. Sleeping leaves the interpreter to the calls,
        where waiting for each answer would take it from them again and again.
        """
        with suppress(queue.Empty):
            self._answers.put(self._answers.get(timeout=max(0.0, seconds)))
        before = 0
        while before < self.ready < min(len(self._out), MOST_FOLLOWING):
            before = self.ready
            time.sleep(FOLLOWING_SECONDS)

    @property
    def ready(self) -> int:
        """How many answers wait to be taken."""
        return self._answers.qsize()

    def _answer(self, number: int, future: Future[Any]) -> Answer | None:
        call = self._out.pop(number)
        self._free(call, number)
        if future.cancelled():
            return None
        error, seconds = future.exception(), self._clock.monotonic() - call.began
        if error is not None and not isinstance(error, Exception):
            raise error  # a test's death of the process, or an interrupt
        value = None if error else future.result()
        log.debug("%s %.200s: %s after %.3f s", call.kind, call.subject, error or "answered", seconds)
        return Answer(call.kind, call.subject, value, error, seconds, late=call.overdue)

    def _free(self, call: _ThreadedCall, number: int) -> None:
        if self._subjects.get((call.kind, call.subject)) == number:
            del self._subjects[call.kind, call.subject]

    def _run_out(self) -> list[Answer]:
        now, answers = self._clock.monotonic(), []
        for number, call in self._out.items():
            limit = self._settings.seconds_for(call.kind)
            if not call.overdue and now - call.heard >= limit:
                call.overdue = True
                if call.kind is not Kind.SUBMIT:  # whatever else hangs may be asked again
                    self._free(call, number)
                error = InfrastructureError(f"no answer within {limit:g} s")
                answers.append(Answer(call.kind, call.subject, None, error, now - call.began, overdue=True))
        return answers

    def outstanding(self) -> Mapping[Kind, Outstanding]:
        """The calls that are out, by kind."""
        now = self._clock.monotonic()
        by_kind: dict[Kind, list[_ThreadedCall]] = {}
        for call in self._out.values():
            by_kind.setdefault(call.kind, []).append(call)
        return {
            kind: Outstanding(len(calls), sum(c.overdue for c in calls), now - min(c.began for c in calls))
            for kind, calls in by_kind.items()
        }

    def close(self, last: Callable[[], None]) -> bool:
        """Make the last call, for a moment at most, and start nothing more; whether all calls have ended."""
        final = self._executor.submit(last)
        ended = final in wait([final], CLOSE_SECONDS).done
        self._executor.shutdown(wait=False, cancel_futures=True)
        self.answers()
        return ended and not self._out
