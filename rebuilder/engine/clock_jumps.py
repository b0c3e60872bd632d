"""Whether the wall's clock was set, which is seen by the monotonic one."""

from __future__ import annotations

import logging

from sqlalchemy import Connection

from rebuilder.engine.backoff import LONGEST_PAUSE
from rebuilder.engine.clock import Clock
from rebuilder.store import clock_shift

log = logging.getLogger(__name__)
JUMP_SECONDS = 5.0  # what is less is a clock that is put right, and matters to nothing that waits


class ClockJumps:
    """Looks in each pass. What a clock did that was set while no engine ran is seen in the first one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset: float | None = None

    @property
    def any(self) -> bool:
        """Whether there is something to follow."""
        return self._offset is None or abs(self._seconds) >= JUMP_SECONDS

    @property
    def _seconds(self) -> float:
        return 0.0 if self._offset is None else self._now - self._offset

    @property
    def _now(self) -> float:
        return self._clock.now() - self._clock.monotonic()

    def follow(self, connection: Connection) -> None:
        """Move what waits for a moment along with the clock. Once that is committed, say `followed`."""
        if jump := self._seconds:
            way = "ahead" if jump > 0 else "back"
            log.warning("the clock was set %s by %.0f s: what waits moves along", way, abs(jump))
        clock_shift.follow(connection, jump, self._clock.now(), LONGEST_PAUSE)

    def followed(self) -> None:
        """All that was set until now is dealt with."""
        self._offset = self._now
