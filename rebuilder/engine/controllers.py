"""All that the engine asks the world for: one controller for each kind of call."""

from __future__ import annotations

from collections.abc import Sequence

from rebuilder.engine.cancellation import Cancellations
from rebuilder.engine.context import Context, Controller
from rebuilder.engine.enrichment import Enrichment
from rebuilder.engine.external_parents import ExternalParents
from rebuilder.engine.polling import Polling
from rebuilder.engine.promotion import Promotions
from rebuilder.engine.pushing import Pushes
from rebuilder.engine.reconcile import Reconciliation
from rebuilder.engine.repository_wait import RepositoryWaits
from rebuilder.engine.rollbacks import Rollbacks
from rebuilder.engine.submission import Submissions
from rebuilder.engine.testing import Tests
from rebuilder.engine.tidying import TidyingUp
from rebuilder.engine.withdrawal import Withdrawals


class Controllers:
    """They begin with no memory: all that counts is in the database."""

    def __init__(self, context: Context) -> None:
        self.submissions = Submissions(context)
        self.polling = Polling(context)
        self.tests = Tests(context)
        self.promotions = Promotions(context)
        self.pushes = Pushes(context)
        self.rollbacks = Rollbacks(context)
        self.enrichment = Enrichment(context)
        self.repositories = RepositoryWaits(context)
        self.withdrawals = Withdrawals(context)
        self.reconciliation = Reconciliation(context)
        self.externals = ExternalParents(context, self.reconciliation)
        self.tidying = TidyingUp(context)
        self.all: Sequence[Controller] = (
            self.submissions, self.polling, self.tests, self.promotions, self.pushes, self.rollbacks,
            Cancellations(context), self.enrichment, self.repositories, self.withdrawals, self.reconciliation,
            self.externals, self.tidying,
        )  # fmt: skip

    @property
    def when_idle(self) -> Sequence[Controller]:
        """Those that have something to ask where nothing is left to be done."""
        return self.reconciliation, self.externals, self.tidying

    @property
    def may_plan(self) -> bool:
        """Whether the images are known, and what they are built on."""
        return self.reconciliation.ready and self.externals.ready

    @property
    def busy(self) -> bool:
        """Whether one of them works on something that no table has yet."""
        return self.reconciliation.busy or self.externals.busy or self.tidying.busy
