"""What the engine waits for, in the words of the heartbeat that other processes read."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from rebuilder.engine.backoff import Failure
from rebuilder.engine.calls import Kind
from rebuilder.engine.clock import Clock
from rebuilder.store import lease
from rebuilder.store.heartbeats import Activity, CallsOut, Problem

if TYPE_CHECKING:
    from rebuilder.engine.loop import Loop

LISTED = 200  # submissions in doubt, and builds that wait at the builder: more are only counted


def activity(loop: Loop) -> Activity:
    """The calls that are out, and what does not work."""
    out, term = loop.calls.outstanding(), lease.term_of(loop.engine)
    return Activity(
        calls=tuple(CallsOut(str(kind), o.count, o.overdue, round(o.oldest, 1)) for kind, o in sorted(out.items())),
        problems=tuple(_problems(loop)),
        in_doubt=dict(islice(loop.submissions.in_doubt.items(), LISTED)),
        at_builder=tuple(islice(sorted(loop.polling.waiting), LISTED)),
        process=term.owner if term else "",
        repositories={f"{stream} {tag}": found for (stream, tag), found in loop.repositories.waited_for.items()},
    )


def _problems(loop: Loop) -> list[Problem]:
    metrics, failures = loop.metrics, {
        "submissions": loop.submissions.site_failure,
        "Koji look-up": loop.enrichment.failure,
        "Koji repositories": loop.repositories.failure,
        "Koji withdrawals": loop.withdrawals.failure,
        "tests": loop.tests.failure,
        "image names": loop.promotions.failure,
        "pushes": loop.pushes.failure,
        "rollbacks": loop.rollbacks.failure,
        "inventory": loop.reconciliation.failure(Kind.INVENTORY),
        "external parents": loop.externals.failure,
        "Koji tags": loop.reconciliation.failure(Kind.RECONCILE),
    }
    found = [_problem(what, failure, loop.clock) for what, failure in failures.items() if failure is not None]
    if metrics.unreachable:
        found.insert(0, Problem("builder", metrics.unreachable_since, metrics.unreachable))
    return found


def _problem(what: str, failure: Failure, clock: Clock) -> Problem:
    """Monotonic moments as moments of the wall's clock."""
    offset = clock.now() - clock.monotonic()
    return Problem(what, failure.since + offset, failure.reason, failure.until + offset)
