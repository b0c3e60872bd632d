"""Faults that somebody could make, each with the promise it breaks and the tests that see it."""

from __future__ import annotations

from msgspec import Struct


class Mutation(Struct, frozen=True):
    """In `file`, `before` (which stands there once) becomes `after`: `promise` is broken, and a test fails.

    `tests` are arguments of pytest.
    """

    promise: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]


PLAN = ("tests/unit/test_plan.py", "tests/unit/test_plan_oracle.py", "tests/unit/test_left_out.py")
RPM = ("tests/unit/test_rpm.py", *PLAN)
LIFECYCLE = ("tests/unit/test_lifecycle.py",)
SQLITE = ("-k", "not postgresql")
ENGINE = ("tests/integration/test_engine.py", *SQLITE)
CRASHES = ("tests/integration/test_engine_crashes.py", "tests/integration/test_promises.py", *SQLITE)
SLOW = ("tests/integration/test_slow_builder.py", *SQLITE)
LEASE = ("tests/integration/test_lease.py", *SQLITE)
STORE = ("tests/integration/test_transitions.py", *SQLITE)
INBOX = ("tests/integration/test_inbox.py", "tests/integration/test_dead_letters.py",
         "tests/integration/test_outbox.py", *SQLITE)  # fmt: skip
SCHEDULE = ("tests/unit/test_schedule.py",)

MUTATIONS = (
    Mutation("An RPM of the offered version is current", "rebuilder/domain/rpm.py",
             "evr_compare(mine.full, theirs.full) > 0", "evr_compare(mine.full, theirs.full) >= 0", RPM),
    Mutation("An RPM with a version of its own is compared by its source build", "rebuilder/domain/rpm.py",
             "if not rpm.source_evr:", "if True:", RPM),
    Mutation("An epoch that is unknown is not 0", "rebuilder/domain/rpm.py",
             "return self if self.epoch is not None else EVR(epoch,", "return EVR(self.epoch or 0,", RPM),
    Mutation("Only what is installed side by side counts by its newest", "rebuilder/domain/rpm.py",
             "return _any_of(installonly).match(name) is not None", "return True", RPM),
    Mutation("An update of a module is none of the plain package", "rebuilder/domain/impact.py",
             "MODULE in change.build.evr.release\n", "False\n", PLAN),
    Mutation("An image on hold is not rebuilt", "rebuilder/domain/assessment.py",
             "elif key in self._terms.held:", "elif False:", PLAN),
    Mutation("An image is not rebuilt on a parent that stays stale", "rebuilder/domain/assessment.py",
             "elif not reachable:", "elif False:", PLAN),
    Mutation("An image with unknown content is told of, not passed over", "rebuilder/domain/assessment.py",
             "        self._leave_out_unknown()\n", "", PLAN),
    Mutation("The layer that brought an RPM in is named", "rebuilder/domain/staleness.py",
             'if layers.get(rpm) == "":', "if False:", PLAN),
    Mutation("Of several changes of a package the newest counts", "rebuilder/domain/impact.py",
             "best = newest(change.build.evr for change in group)", "best = group[0].build.evr", PLAN),
    Mutation("A rule of the policy keeps an image from being rebuilt", "rebuilder/domain/assessment.py",
             "rule.action is Action.DENY:", "rule.action is Action.APPROVE:", ("tests/unit/test_policy.py", *PLAN)),
    Mutation("The first rule that fits decides", "rebuilder/domain/policy.py",
             "return next((rule for rule in rules if rule", "return next((rule for rule in reversed(rules) if rule",
             ("tests/unit/test_policy.py", *PLAN)),
    Mutation("A submission that never arrived is no failure", "rebuilder/domain/lifecycle.py",
             "(State.SUBMITTING, NotSubmitted): (State.QUEUED, ()),",
             "(State.SUBMITTING, NotSubmitted): (State.FAILED, _BLOCK),",
             LIFECYCLE),
    Mutation("What failed blocks what is built on it", "rebuilder/domain/lifecycle.py",
             "(State.BUILDING, Failed): (State.FAILED, _BLOCK),", "(State.BUILDING, Failed): (State.FAILED, ()),",
             (*LIFECYCLE, *ENGINE)),
    Mutation("A build that is superseded is canceled at the builder", "rebuilder/domain/lifecycle.py",
             "(State.BUILDING, TakenOver): (State.UNNEEDED, (Effect.CANCEL_BUILD,)),",
             "(State.BUILDING, TakenOver): (State.UNNEEDED, ()),", (*LIFECYCLE, *ENGINE)),
    Mutation("A retry lets what was blocked go on", "rebuilder/domain/lifecycle.py",
             "(State.FAILED, Retried): (State.WAITING, (Effect.RESUME_DESCENDANTS,)),",
             "(State.FAILED, Retried): (State.WAITING, ()),", (*LIFECYCLE, *ENGINE)),
    Mutation("Builds that are being canceled keep their slots", "rebuilder/engine/dispatch.py",
             "    live.update(stream_of(build.image) for build in cancellations.pending(connection))",
             "    live.update([])",
             ("tests/integration/test_slow_builder.py", "tests/integration/test_operators.py", *SQLITE)),
    Mutation("A paused engine starts nothing", "rebuilder/engine/dispatch.py",
             "if holds.paused(connection, transitions.now) is not None:", "if False:",
             ("tests/integration/test_holds.py", "tests/integration/test_operators.py", *SQLITE)),
    Mutation("An image that became current meanwhile is not built", "rebuilder/engine/dispatch.py",
             "if not results.not_updated(", "if results.not_updated(",
             ("tests/integration/test_coalescing.py", "tests/integration/test_koji_engine.py", *SQLITE)),
    Mutation("Each attempt at the builder has a key of its own", "rebuilder/engine/dispatch.py",
             "anew = entry.ref or not entry.attempt", "anew = not entry.attempt", (*ENGINE, *CRASHES)),
    Mutation("What may be at the builder is looked for before it is submitted again", "rebuilder/engine/submission.py",
             "ready = [entry for entry in entries if entry.key in self._absent]", "ready = entries", (*SLOW, *CRASHES)),
    Mutation("A submission that was not answered is in doubt", "rebuilder/engine/submission.py",
             "            else:\n                self._in_doubt(answer)",
             "            else:\n                unsent[key] = str(error)", (*SLOW, *CRASHES)),
    Mutation("A build that nobody waits for any more is stopped", "rebuilder/engine/submission.py",
             "                cancellations.request(connection, [entry], self._context.clock.now())\n", "",
             ("tests/integration/test_operators.py", *SLOW)),
    Mutation("One who is not sure of its lease submits nothing", "rebuilder/store/lease.py",
             "if term is not None and not term.sure:", "if False:",
             ("tests/integration/test_lease.py", "tests/integration/test_lease_lost.py", *SQLITE)),
    Mutation("A lease is renewed by its owner alone", "rebuilder/store/lease.py",
             "return Lease.owner == self._held.owner, Lease.epoch == self._held.epoch",
             "return (Lease.epoch > 0,)", LEASE),
    Mutation("Who renewed a lease meanwhile keeps it", "rebuilder/store/lease.py",
             "Lease.renewals == seen.renewals\n", "Lease.renewals >= 0\n", LEASE),
    Mutation("A message that comes twice is kept once, and counted", "rebuilder/store/inbox.py",
             "if twice := new.count(False):", "if twice := 0:", ("tests/integration/test_health.py", *SQLITE)),
    Mutation("What can never be kept is set aside, not dropped", "rebuilder/store/inbox.py",
             "        dead_letters.keep(connection, delivery, reason,",
             "        (lambda *_: None)(connection, delivery, reason,",
             INBOX),
    Mutation("A rebuild that is no longer what it was is not changed", "rebuilder/store/transitions.py",
             "    _update(self.connection, changed)\n        _reopen", "    _reopen", STORE),
    Mutation("Every change of a state is announced with it", "rebuilder/store/transitions.py",
             "        outbox.came_into(self.connection, [_state_change(*one) for one in changed], self.now)\n", "",
             INBOX),
    Mutation("The longest chain goes first", "rebuilder/domain/schedule.py",
             'array("d", [-path for path in below])', 'array("d", below)', (*SCHEDULE, *PLAN)),
    Mutation("What is more severe goes first", "rebuilder/domain/schedule.py",
             "created_at - severity.weight * SEVERITY_SECONDS",
             "created_at + severity.weight * SEVERITY_SECONDS", SCHEDULE),
    Mutation("A build without the fix has failed", "rebuilder/engine/results.py",
             "    if fault:\n        return Failed(fault, build_id=build_id)\n", "", ENGINE),
)  # fmt: skip
