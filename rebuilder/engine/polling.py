"""Asks the builder how the live builds stand, and reads the results of those that succeeded."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from sqlalchemy import Connection

from rebuilder.domain.build import PartialResult, Phase, Status
from rebuilder.domain.image import ImageBuild
from rebuilder.domain.lifecycle import Built, Canceled, Event, Failed, Proven, RebuildRecord, State
from rebuilder.engine import results
from rebuilder.engine.backoff import Backoff
from rebuilder.engine.batching import Batches
from rebuilder.engine.calls import Answer, Kind
from rebuilder.engine.checks import checks_of
from rebuilder.engine.context import Context
from rebuilder.engine.naming import Names
from rebuilder.store import inventory, rebuilds
from rebuilder.store.database import reading

log = logging.getLogger(__name__)
LONGEST_PAUSE = 30.0  # until a builder, or a result, that could not be read is asked for again
RESULT_TRIES = 5  # until the builder is asked again whether it still has the build
LAST_TRY = 20  # after which what is known of a build is recorded: some minutes, as the pauses grow


class Polling:
    """The rebuilds that are being built.

    A builder is asked again at once while builds end or begin, else after `watch_seconds`, or `poll_seconds` where the
    builder has no pace of its own.
    """

    kinds = frozenset({Kind.POLL, Kind.RESULT})
    woken_by = kinds | {Kind.SUBMIT, Kind.FIND}

    def __init__(self, context: Context) -> None:
        self._context = context
        self._questions = Batches()
        self._poll_at = 0.0
        self._succeeded: set[str] = set()  # refs whose results are to be read
        self._running_since: dict[str, float] = {}  # refs, and since when they run (monotonic)
        self._waiting_since: dict[str, float] = {}
        self._failures = Backoff(1.0, LONGEST_PAUSE)

    def soon(self) -> None:
        """Ask now: something says that a build ended."""
        self._poll_at = 0.0

    @property
    def waiting(self) -> frozenset[str]:
        """The refs of the builds that the builder has and has not begun with."""
        return frozenset(self._waiting_since)

    def ask(self) -> None:
        context, now = self._context, self._context.clock.monotonic()
        with reading(context.engine) as connection:
            refs = {entry.ref: entry for entry in rebuilds.in_states(connection, [State.BUILDING])}
        self._forget_but(refs)
        self._ask_for_results(now)
        running = [ref for ref in refs if ref not in self._succeeded]
        if not running or self._failures.resting(Kind.POLL, now):
            return
        due = now >= self._poll_at
        slow = self._questions.split(now)
        self._questions.start(
            running if due else slow, now,
            lambda batch: context.calls.start(Kind.POLL, batch, partial(context.builder.poll, batch)),
        )  # fmt: skip
        if due:
            self._poll_at = now + (context.settings.watch_seconds or context.settings.poll_seconds)

    def _ask_for_results(self, now: float) -> None:
        context = self._context
        for ref in self._succeeded:
            if not self._failures.resting(ref, now):
                context.calls.start(Kind.RESULT, ref, partial(context.builder.result, ref))

    def _forget_but(self, refs: Mapping[str, RebuildRecord]) -> None:
        self._succeeded &= refs.keys()
        for times in (self._running_since, self._waiting_since):
            for ref in times.keys() - refs.keys():
                del times[ref]
        self._questions.forget(refs)
        self._failures.forget({Kind.POLL, *refs})

    def record(self, connection: Connection, answers: Sequence[Answer]) -> int:
        statuses: dict[str, Status] = {}
        built: dict[str, tuple[ImageBuild, str]] = {}
        for answer in answers:
            if answer.kind is Kind.POLL:
                statuses |= self._statuses(answer)
            elif answer.error is None:
                built[str(answer.subject)] = answer.value, results.NO_MANIFEST
            elif (partial := self._unread(answer)) is not None:
                built[str(answer.subject)] = partial
        succeeded = len(self._succeeded)
        ended = self._record_told(connection, statuses, built)
        if ended or len(self._succeeded) > succeeded:
            self.soon()
        return ended

    def _statuses(self, answer: Answer) -> Mapping[str, Status]:
        batch, now = answer.subject, self._context.clock.monotonic()
        assert isinstance(batch, tuple)
        if answer.error is not None:
            self._questions.unanswered(batch)
            if not answer.overdue:
                self._failures.failed(Kind.POLL, str(answer.error), now)
            return {}
        statuses: Mapping[str, Status] = answer.value
        self._questions.answered(batch, [ref for ref in batch if ref not in statuses])
        self._failures.succeeded(Kind.POLL)
        return statuses

    def _unread(self, answer: Answer) -> tuple[ImageBuild, str] | None:
        """The result cannot be read; what is recorded in its place where it was asked for often enough."""
        failure = self._failures.failed(answer.subject, str(answer.error), self._context.clock.monotonic())
        if failure.count == 1:
            log.warning("%s was built; its result cannot be read yet: %s", answer.subject, answer.error)
        if failure.count >= LAST_TRY and isinstance(answer.error, PartialResult):
            return answer.error.build, str(answer.error)
        if failure.count % RESULT_TRIES == 0:  # the build may be gone: then its status says so
            self._succeeded.discard(str(answer.subject))
        return None

    def _record_told(
        self, connection: Connection, statuses: Mapping[str, Status], built: Mapping[str, tuple[ImageBuild, str]]
    ) -> int:
        """Record what is told of builds that are under way; how many ended."""
        refs = statuses.keys() | built.keys()
        building = rebuilds.of_refs(connection, refs) if refs else []
        stopped = self._record_statuses(connection, [entry for entry in building if entry.ref in statuses], statuses)
        done = [entry for entry in building if entry.ref in built and entry.id not in stopped]
        return len(stopped) + self._record_built(connection, done, built)

    def _record_statuses(
        self, connection: Connection, entries: Sequence[RebuildRecord], statuses: Mapping[str, Status]
    ) -> set[int]:
        """The rebuilds that are not building any more."""
        self._record_begun(connection, entries, statuses)
        happened: list[tuple[RebuildRecord, Event]] = []
        for entry in entries:
            status = statuses[entry.ref]
            if status.phase is Phase.SUCCEEDED:
                self._succeeded.add(entry.ref)
            elif (event := self._event(connection, entry, status)) is not None:
                happened.append((entry, event))
        self._context.transitions(connection).apply(happened)
        for entry, event in happened:
            if isinstance(event, Failed):
                log.error("%s FAILED: %s", entry.image, " / ".join(event.reason.splitlines()))
            else:
                log.info("%s %s: %s", entry.image, event.name, event.reason)
        return {entry.id for entry, _ in happened}

    @staticmethod
    def _record_begun(
        connection: Connection, entries: Iterable[RebuildRecord], statuses: Mapping[str, Status]
    ) -> None:
        """When the builder began with each of them, told once."""
        begun = {entry.id: statuses[entry.ref].begun for entry in entries if entry.begun_at is None}
        rebuilds.begun(connection, {ident: at for ident, at in begun.items() if at is not None})

    def _event(self, connection: Connection, entry: RebuildRecord, status: Status) -> Event | None:
        match status.phase:
            case Phase.FAILED:
                return Failed(status.reason or "the builder gave no reason")
            case Phase.CANCELED:
                return Canceled(status.reason or "canceled at the builder")
            case Phase.ABORTED:
                return results.aborted(connection, entry, status.reason, self._limits)
            case Phase.WAITING:
                limit, since = self._context.settings.queue_limit, self._clocked(self._waiting_since, entry, status)
                return self._timed_out(connection, entry, "waited at the builder for over", limit, since)
            case _:
                if self._waiting_since.pop(entry.ref, None) is not None:
                    self._running_since.setdefault(entry.ref, self._context.clock.monotonic())
                since = self._clocked(self._running_since, entry, status)
                limit = self._context.settings.time_limit
                return self._timed_out(connection, entry, "over its time limit of", limit, since)

    def _clocked(self, since: dict[str, float], entry: RebuildRecord, status: Status) -> float:
        """Since when it waits or runs, as the monotonic clock counts.

        The wall's clock is asked once, when this process first sees the build: it may be set at any time. A builder's
        may be another one: no build began before it was ordered.
        """
        clock = self._context.clock
        if entry.ref not in since:
            moments = [entry.started_at, status.begun if since is self._running_since else None]
            ages = [clock.now() - moment for moment in moments if moment is not None]
            since[entry.ref] = clock.monotonic() - max(0.0, min(ages, default=0.0))
        return since[entry.ref]

    def _timed_out(
        self, connection: Connection, entry: RebuildRecord, text: str, limit: float | None, since: float
    ) -> Event | None:
        if limit is None or self._context.clock.monotonic() - since <= limit:
            return None
        return results.aborted(connection, entry, f"{text} {limit:g} s", self._limits, timed_out=True)

    @property
    def _limits(self) -> results.Limits:
        settings = self._context.settings
        now = self._context.clock.now()
        return results.Limits(settings.max_attempts, settings.retry_seconds, now, settings.installonly)

    def _record_built(
        self, connection: Connection, entries: Sequence[RebuildRecord], built: Mapping[str, tuple[ImageBuild, str]]
    ) -> int:
        if not entries:
            return 0
        settings = self._context.settings
        cares = inventory.cares(connection, [entry.image_id for entry in entries])
        finished = [
            results.Finished(entry, *built[entry.ref], checks_of(entry.image, cares[entry.image_id], settings))
            for entry in entries
        ]
        names = Names.of(self._context.builder, settings)
        events = results.built(self._context.transitions(connection), finished, self._limits, names)
        for done in finished:
            ref = done.entry.ref
            self._succeeded.discard(ref)
            self._failures.succeeded(ref)
            _tell(done, events[done.entry.id])
        return len(entries)


def _tell(done: results.Finished, event: Event) -> None:
    """Say in the log how it ended: that something was built, and has not what it was built for, is no success."""
    image, build = done.entry.image, done.build.ident
    if isinstance(event, Failed):
        log.error("%s FAILED: %s was built, and is %s", image, build, event.reason)
    elif isinstance(event, Proven):
        log.info("%s was built as %s, and is being tested", image, build)
    elif isinstance(event, Built):
        log.info("%s succeeded: %s%s", image, build, f" ({event.reason})" if event.reason else "")
    else:
        log.warning("%s is built again: %s", image, event.reason)
