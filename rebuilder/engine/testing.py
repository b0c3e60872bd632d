"""Tests proven builds in their new images, and takes up what tests and gates said.

That a build is to be tested is committed with its proof, and what a test said before anything follows from it: so an
engine that dies finds the test again, which runs by itself, or its answer.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

from sqlalchemy import Connection

from rebuilder.builders.protocol import Testing
from rebuilder.domain.build import Phase, Status
from rebuilder.domain.checks import CheckKind, TestRequest
from rebuilder.domain.lifecycle import Failed, State
from rebuilder.engine import results
from rebuilder.engine.backoff import Backoff, Failure
from rebuilder.engine.calls import Answer, Kind
from rebuilder.engine.context import Context
from rebuilder.engine.naming import Names
from rebuilder.store import verdicts
from rebuilder.store.database import reading
from rebuilder.store.transitions import Transitions
from rebuilder.store.verdicts import PendingVerdict

log = logging.getLogger(__name__)
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 300.0


class Tests:
    """The tests that are to be run, are running, or run although no rebuild waits for them any more.

    As many run at one time as builds may.
    """

    __test__ = False  # they are nothing that pytest should collect
    kinds = frozenset({Kind.TEST})
    woken_by = kinds | {Kind.RESULT}

    def __init__(self, context: Context) -> None:
        self._context = context
        self._failures = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        self._began: dict[int, float] = {}  # by the verdict, since when its test runs (monotonic)
        self._look_at: dict[int, float] = {}
        self._out: dict[int, PendingVerdict] = {}

    @property
    def failure(self) -> Failure | None:
        """Why some test could not be run last."""
        return self._failures.longest(self._out)

    def ask(self) -> None:
        with reading(self._context.engine) as connection:
            pending = [one for one in verdicts.pending(connection) if one.kind is CheckKind.TEST]
        self._remember(pending)
        now, builder = self._context.clock.monotonic(), self._context.builder
        rested = [one for one in pending if not self._failures.resting(one.id, now)]
        if isinstance(builder, Testing):
            self._stop(builder, [one for one in rested if one.state is not State.TESTING])
            self._look(builder, [one for one in rested if one.state is State.TESTING], now)
        else:
            self._cannot(rested)

    def _cannot(self, rested: Sequence[PendingVerdict]) -> None:
        for one in rested:
            self._failed(one, f"the builder {self._context.builder.name} runs no tests: use a gate")

    def _remember(self, pending: Sequence[PendingVerdict]) -> None:
        """Nothing of other tests than these."""
        self._out = {one.id: one for one in pending}
        self._failures.forget(self._out.keys())
        for times in (self._began, self._look_at):
            for ident in times.keys() - self._out.keys():
                del times[ident]

    def _stop(self, builder: Testing, unwanted: Sequence[PendingVerdict]) -> None:
        for one in unwanted:
            self._context.calls.start(Kind.TEST, one.id, partial(builder.stop_test, one.key))

    def _look(self, builder: Testing, pending: Sequence[PendingVerdict], now: float) -> None:
        for one in pending[: self._context.settings.slots]:
            if now >= self._look_at.get(one.id, now):
                self._look_at_one(builder, one, now)

    def _look_at_one(self, builder: Testing, one: PendingVerdict, now: float) -> None:
        request = TestRequest(one.key, one.image, one.ident, one.test)
        over = now - self._began.get(one.id, now) > one.test.seconds
        call = partial(_end if over else _run, builder, request, again=self._failures.of(one.id) is not None)
        if self._context.calls.start(Kind.TEST, one.id, call):
            self._look_at[one.id] = now + self._context.settings.poll_seconds

    def record(self, connection: Connection, answers: Sequence[Answer]) -> int:
        ended = 0
        for answer in answers:
            one = self._out.get(answer.subject) if isinstance(answer.subject, int) else None
            if one is None or answer.late:
                continue
            if answer.error is not None:
                self._failed(one, str(answer.error))
            elif answer.value is None:  # it was stopped
                verdicts.void(connection, [one.id], self._context.clock.now())
            else:
                ended += self._record_status(connection, one, answer.value)
        return ended

    def _record_status(self, connection: Connection, one: PendingVerdict, status: Status) -> bool:
        """Whether the test has answered."""
        clock = self._context.clock
        match status.phase:
            case Phase.SUCCEEDED | Phase.FAILED:
                self._failures.succeeded(one.id)
                passed = status.phase is Phase.SUCCEEDED
                return verdicts.answer(connection, one.id, passed, status.reason, "", clock.now())
            case Phase.RUNNING | Phase.WAITING:
                age = clock.now() - status.begun if status.begun is not None else 0.0
                self._began.setdefault(one.id, clock.monotonic() - max(0.0, age))
            case _:
                self._failed(one, status.reason)
        return False

    def _failed(self, one: PendingVerdict, reason: str) -> None:
        self._began.pop(one.id, None)
        if self._failures.failed(one.id, reason, self._context.clock.monotonic()).count == 1:
            log.warning("%s cannot be tested yet: %s", one.image, reason)


def _run(builder: Testing, request: TestRequest, *, again: bool) -> Status:
    return builder.test(request, again=again)


def _end(builder: Testing, request: TestRequest, *, again: bool) -> Status:
    """It ran for too long, unless it has just ended."""
    status = builder.test(request, again=again)
    if status.phase is not Phase.RUNNING:
        return status
    fault = f"over its time limit of {request.test.seconds:g} s"
    builder.stop_test(request.key, fault)
    return Status(Phase.FAILED, fault)


def settle(transitions: Transitions, names: Names | None) -> int:
    """Take up what tests and gates said, in the transitions' transaction; how many rebuilds ended by that."""
    answers = verdicts.answered(transitions.connection)
    if not answers:
        return 0
    events = results.tested(transitions, answers, names)
    for one in answers:
        event = events[one.entry.id]
        if isinstance(event, Failed):
            log.error("%s FAILED: %s", one.entry.image, event.reason)
        else:
            log.info("%s succeeded: its tests have passed", one.entry.image)
    return len(answers)
