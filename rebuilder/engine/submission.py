"""Hands builds over to the builder: each once, however often it is tried and whatever is lost on the way.

A rebuild is `submitting` from the moment when its key is committed. Unless this very engine has just made the key, the
builder is asked for it before anything is submitted, as after every submission that was not answered: only its own word
that it has no such build lets us submit again. A submission that is still out, however late, keeps its rebuild from
being submitted a second time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from msgspec import Struct
from sqlalchemy import Connection

from rebuilder.builders.protocol import Builder
from rebuilder.domain.build import BuildRejected, BuildRequest, SiteError, Submission
from rebuilder.domain.errors import InfrastructureError
from rebuilder.domain.lifecycle import PENDING, UNDER_WAY, Accepted, Event, Failed, NotSubmitted, RebuildRecord, State
from rebuilder.engine.backoff import LONGEST_PAUSE, Backoff, Failure
from rebuilder.engine.batching import Batches
from rebuilder.engine.calls import Answer, Kind
from rebuilder.engine.context import Context
from rebuilder.engine.dispatch import Reserved
from rebuilder.engine.requests import requests_of
from rebuilder.store import cancellations, holds, lease, rebuilds
from rebuilder.store.database import reading
from rebuilder.store.lease import Term

log = logging.getLogger(__name__)
ARRIVING_SECONDS = 60.0  # a request without an answer may still become a build for so long
ASK_AGAIN_SECONDS = 5.0
SITE_SECONDS = 300.0  # the longest pause before a site that refuses everything is tried again
UNREACHABLE_SECONDS = 30.0  # the longest pause before a builder that could not be asked is asked again
SITE = "site"  # the subject of what holds up every submission


class _Doubt(Struct, frozen=True):
    """A submission that was not answered, since when (monotonic seconds), and whether it can have arrived."""

    reason: str
    since: float
    arrived: bool


class Submissions:
    """The rebuilds that are being handed over."""

    kinds = woken_by = frozenset({Kind.SUBMIT, Kind.FIND})

    def __init__(self, context: Context) -> None:
        self._context = context
        self._questions = Batches()
        self._absent: set[str] = set()  # keys that the builder does not know, as it said itself
        self._doubts: dict[str, _Doubt] = {}
        self._ask_again: dict[str, float] = {}  # when the builder is asked for a key once more (monotonic)
        self._failures = Backoff(context.settings.retry_seconds, LONGEST_PAUSE)
        self._site = Backoff(context.settings.retry_seconds, SITE_SECONDS)
        self._reachable = Backoff(1.0, UNREACHABLE_SECONDS)

    @property
    def site_failure(self) -> Failure | None:
        """Why the builder takes no submission at all now, where it said so."""
        return self._site.of(SITE)

    @property
    def in_doubt(self) -> Mapping[str, str]:
        """The keys of submissions that were not answered, each with the reason."""
        return {key: doubt.reason for key, doubt in self._doubts.items()}

    def reserved(self, builds: Iterable[Reserved]) -> None:
        """This engine has just committed to these builds: nothing can have been submitted under a new key."""
        self._absent.update(build.key for build in builds if build.new)

    def ask(self) -> None:
        context = self._context
        with reading(context.engine) as connection:
            now = context.clock.now()
            entries = rebuilds.submitting(connection, now)
            stopped = holds.paused(connection, now) is not None
        keys = {entry.key for entry in entries}
        self._forget_but(keys)
        self._find([entry.key for entry in entries])
        ready = [entry for entry in entries if entry.key in self._absent]
        if ready and not stopped:
            self._submit(ready)

    def _forget_but(self, keys: set[str]) -> None:
        self._absent &= keys
        self._doubts = {key: doubt for key, doubt in self._doubts.items() if key in keys}
        self._ask_again = {key: at for key, at in self._ask_again.items() if key in keys}
        self._questions.forget(keys)

    def _find(self, keys: Iterable[str]) -> None:
        context, now = self._context, self._context.clock.monotonic()
        unknown = [key for key in keys if key not in self._absent and now >= self._ask_again.get(key, 0.0)
                   and not self._in_time(key)]
        if not unknown or self._reachable.resting(Kind.FIND, now):
            return
        self._questions.split(now)
        self._questions.start(
            unknown, now, lambda batch: context.calls.start(Kind.FIND, batch, partial(context.builder.find, batch))
        )  # fmt: skip

    def _in_time(self, key: str) -> bool:
        """Whether a submission is out that will yet be answered, as far as anybody can tell."""
        return self._context.calls.is_out(Kind.SUBMIT, key) and key not in self._doubts

    def _submit(self, entries: Sequence[RebuildRecord]) -> None:
        context = self._context
        if self._site.resting(SITE, context.clock.monotonic()):
            return
        places = context.calls.room(Kind.SUBMIT)
        if self.site_failure is not None:  # one build is tried, to see whether the site is mended
            places = 0 if context.calls.any_out(Kind.SUBMIT) else 1
        chosen = [entry for entry in entries if not context.calls.is_out(Kind.SUBMIT, entry.key)][:places]
        term = lease.term_of(context.engine)
        if chosen and term is not None:
            term.confirm()
        with reading(context.engine) as connection:
            requests = requests_of(connection, chosen)
        for entry in chosen:
            do = partial(submit, context.builder, requests[entry.id], term)
            if context.calls.start(Kind.SUBMIT, entry.key, do):
                self._absent.discard(entry.key)

    def record(self, connection: Connection, answers: Sequence[Answer]) -> int:
        lookups = [answer for answer in answers if answer.kind is Kind.FIND]
        submitted = [answer for answer in answers if answer.kind is Kind.SUBMIT]
        return self._record_found(connection, lookups) + self._record_submitted(connection, submitted)

    def _record_found(self, connection: Connection, answers: Sequence[Answer]) -> int:
        now, submissions, absent = self._context.clock.monotonic(), {}, []
        for answer in answers:
            batch = answer.subject
            assert isinstance(batch, tuple)
            if answer.error is not None:
                self._questions.unanswered(batch)
                if len(batch) > 1 or not answer.overdue:
                    self._reachable.failed(Kind.FIND, str(answer.error), now)
                continue
            self._questions.answered(batch)
            self._reachable.succeeded(Kind.FIND)
            submissions.update(answer.value)
            absent += [key for key in batch if key not in answer.value]
        self._accept(connection, submissions)
        return self._not_there(connection, absent)

    def _accept(self, connection: Connection, submissions: Mapping[str, Submission]) -> None:
        """The builder has these builds. One that no rebuild waits for any more is stopped."""
        happened: list[tuple[RebuildRecord, Event]] = []
        for entry in rebuilds.of_keys(connection, list(submissions)):
            submission = submissions[entry.key]
            self._settled(entry.key)
            if entry.state is State.SUBMITTING:
                happened.append((entry, Accepted(ref=submission.ref, log=submission.log)))
            elif entry.state not in UNDER_WAY | PENDING:
                cancellations.request(connection, [entry], self._context.clock.now())
                cancellations.found(connection, entry.key, submission.ref)
        self._context.transitions(connection).apply(happened)
        for entry, _ in happened:
            log.info("%s is being built as %s", entry.image, submissions[entry.key].ref)

    def _settled(self, key: str) -> None:
        self._absent.discard(key)
        self._doubts.pop(key, None)
        self._failures.succeeded(key)

    def _not_there(self, connection: Connection, keys: Sequence[str]) -> int:
        """The builder does not have these. Where a submission was not answered, it must have been lost."""
        now, lost = self._context.clock.monotonic(), []
        for key in keys:
            doubt = self._doubts.get(key)
            if doubt is None:
                self._absent.add(key)
            elif self._context.calls.is_out(Kind.SUBMIT, key) or (
                doubt.arrived and now - doubt.since < ARRIVING_SECONDS
            ):
                self._ask_again[key] = now + ASK_AGAIN_SECONDS
            else:
                lost.append(key)
        return self._requeue(connection, {key: self._doubts.pop(key).reason for key in lost})

    def _requeue(self, connection: Connection, reasons: Mapping[str, str]) -> int:
        """These never arrived: once more after a pause that grows. It counts as no attempt.

        Where a further rebuild of the image waits already, this one keeps its place instead.
        """
        clock, happened = self._context.clock, []
        for entry in rebuilds.of_keys(connection, list(reasons)):
            failure = self._failures.failed(entry.key, reasons[entry.key], clock.monotonic())
            again_at = clock.now() + failure.until - clock.monotonic()
            if entry.state is not State.SUBMITTING:
                continue
            if rebuilds.pending_successor(connection, entry) is not None:
                rebuilds.postpone(connection, entry, again_at)
            else:
                happened.append((entry, NotSubmitted(reasons[entry.key], again_at=again_at)))
        self._context.transitions(connection).apply(happened)
        return len(happened)

    def _record_submitted(self, connection: Connection, answers: Sequence[Answer]) -> int:
        accepted: dict[str, Submission] = {}
        rejected: dict[str, str] = {}
        unsent: dict[str, str] = {}
        for answer in answers:
            key, error = str(answer.subject), answer.error
            if error is None:
                accepted[key] = answer.value
                self._site.succeeded(SITE)
            elif isinstance(error, BuildRejected):
                rejected[key] = str(error)
                self._site.succeeded(SITE)
            elif isinstance(error, SiteError):
                self._site_failed(error)
                unsent[key] = str(error)
            elif isinstance(error, InfrastructureError) and not error.arrived:
                unsent[key] = str(error)
            else:
                self._in_doubt(answer)
        self._accept(connection, accepted)
        return self._reject(connection, rejected) + self._requeue(connection, unsent)

    def _site_failed(self, error: SiteError) -> None:
        now = self._context.clock.monotonic()
        if self._site.resting(SITE, now):  # several submissions were out together: they failed once
            return
        if self._site.failed(SITE, str(error), now).count == 1:
            log.error("builder %s takes no builds until this is mended: %s", self._context.builder.name, error)

    def _in_doubt(self, answer: Answer) -> None:
        now, key = self._context.clock.monotonic(), str(answer.subject)
        before = self._doubts.get(key)
        self._doubts[key] = _Doubt(str(answer.error), now, True)
        pause = 0.0 if answer.overdue or before else min(self._context.settings.retry_seconds, ASK_AGAIN_SECONDS)
        self._ask_again[key] = now + pause
        log.warning("%s was submitted, and not answered (%s): the builder is asked for it", key, answer.error)

    def _reject(self, connection: Connection, reasons: Mapping[str, str]) -> int:
        happened = [
            (entry, Failed(reasons[entry.key]))
            for entry in rebuilds.of_keys(connection, list(reasons))
            if entry.state is State.SUBMITTING
        ]
        self._context.transitions(connection).apply(happened)
        return len(happened)


def submit(builder: Builder, request: BuildRequest, term: Term | None) -> Submission:
    """Submit, unless the call had to wait, or the process was stopped, for so long that another engine may act."""
    lease.check(term)
    return builder.submit(request)
