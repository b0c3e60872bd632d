"""What the engine waits for, in the words of the heartbeat that other processes read."""

from __future__ import annotations

from itertools import islice

from rebuilder.engine.backoff import Failure
from rebuilder.engine.calls import Kind
from rebuilder.engine.clock import Clock
from rebuilder.engine.context import Context
from rebuilder.engine.controllers import Controllers
from rebuilder.engine.metrics import Metrics
from rebuilder.store import lease
from rebuilder.store.heartbeats import Activity, CallsOut, Problem

LISTED = 200  # submissions in doubt, and builds that wait at the builder: more are only counted


def activity(context: Context, controllers: Controllers, metrics: Metrics) -> Activity:
    """The calls that are out, and what does not work."""
    out, term = context.calls.outstanding(), lease.term_of(context.engine)
    return Activity(
        calls=tuple(CallsOut(str(kind), o.count, o.overdue, round(o.oldest, 1)) for kind, o in sorted(out.items())),
        problems=tuple(_problems(context.clock, controllers, metrics)),
        in_doubt=dict(islice(controllers.submissions.in_doubt.items(), LISTED)),
        at_builder=tuple(islice(sorted(controllers.polling.waiting), LISTED)),
        process=term.owner if term else "",
        repositories={f"{stream} {tag}": tags for (stream, tag), tags in controllers.repositories.waited_for.items()},
    )


def _problems(clock: Clock, controllers: Controllers, metrics: Metrics) -> list[Problem]:
    failures = {
        "submissions": controllers.submissions.site_failure,
        "Koji look-up": controllers.enrichment.failure,
        "Koji repositories": controllers.repositories.failure,
        "Koji withdrawals": controllers.withdrawals.failure,
        "tests": controllers.tests.failure,
        "image names": controllers.promotions.failure,
        "pushes": controllers.pushes.failure,
        "rollbacks": controllers.rollbacks.failure,
        "inventory": controllers.reconciliation.failure(Kind.INVENTORY),
        "external parents": controllers.externals.failure,
        "Koji tags": controllers.reconciliation.failure(Kind.RECONCILE),
    }
    problems = [_problem(what, failure, clock) for what, failure in failures.items() if failure is not None]
    if metrics.unreachable:
        problems.insert(0, Problem("builder", metrics.unreachable_since, metrics.unreachable))
    return problems


def _problem(what: str, failure: Failure, clock: Clock) -> Problem:
    """Monotonic moments as moments of the wall's clock."""
    offset = clock.now() - clock.monotonic()
    return Problem(what, failure.since + offset, failure.reason, failure.until + offset)
