"""Removes what ended builds left at the builder, once all that is of interest is kept here.

A run that ended keeps its pods and volumes in the cluster until somebody removes it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from functools import partial

from sqlalchemy import Connection, Engine

from rebuilder.builders.protocol import Tidying
from rebuilder.engine.calls import Answer, Kind
from rebuilder.engine.context import Context
from rebuilder.store import deliveries, rebuilds
from rebuilder.store.database import reading

log = logging.getLogger(__name__)
EVERY_SECONDS, SOON_SECONDS = 600.0, 10.0  # where there was nothing to do, and where there may be more
SUBJECT = "ended builds"


class TidyingUp:
    """The ended builds at a builder that keeps them until they are removed."""

    kinds = woken_by = frozenset({Kind.TIDY})

    def __init__(self, context: Context) -> None:
        self._context = context
        self._again_at = context.clock.monotonic()
        self._asked = False

    def ask(self) -> None:
        context, now = self._context, self._context.clock.monotonic()
        if not isinstance(context.builder, Tidying) or now < self._again_at:
            return
        if context.calls.start(Kind.TIDY, SUBJECT, partial(context.builder.tidy, partial(_settled, context.engine))):
            self._again_at = now + EVERY_SECONDS
            self._asked = True

    @property
    def busy(self) -> bool:
        """Whether something of a build that ended a moment ago is still being read: an engine does not end before."""
        builder = self._context.builder
        return isinstance(builder, Tidying) and (self._asked or builder.tidying)

    def record(self, _connection: Connection, answers: Sequence[Answer]) -> int:
        for answer in answers:
            self._asked = False
            if answer.error is not None:
                log.info("ended builds are not removed yet: %s", answer.error)
            elif answer.value:
                self._again_at = self._context.clock.monotonic() + SOON_SECONDS
                log.info("%d ended builds were marked as kept, or removed, at the builder", answer.value)
        return 0


def _settled(engine: Engine, keys: Collection[str]) -> set[str]:
    with reading(engine) as connection:
        return rebuilds.settled(connection, keys) - deliveries.pending_keys(connection, keys)
