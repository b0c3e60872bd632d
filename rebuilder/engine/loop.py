"""The loop: one pass after another over intake, planning, dispatch and watch.

Every pass begins from what the database says, so the process can be killed anywhere and started again.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from rebuilder.builders.protocol import Builder
from rebuilder.config import Settings
from rebuilder.domain.build import InfrastructureError
from rebuilder.domain.errors import UnreachableError
from rebuilder.domain.lifecycle import State
from rebuilder.engine import dispatch, intake, operators, outcome, planning, reconcile
from rebuilder.engine.gauge import Gauge, Measured
from rebuilder.engine.resolve import resolve
from rebuilder.engine.watch import watch
from rebuilder.inventory.koji.hub import Hub
from rebuilder.store import actions, changes, heartbeats, inbox, outbox, rebuilds, waves
from rebuilder.store.database import first_line, reading

log = logging.getLogger(__name__)
DATABASE_PAUSE = 5.0
Work = Callable[[Engine, Builder, Settings, float], int]


class Loop:
    """The engine. `parse` turns a message into events; `alive` is called after every pass that got through.

    `hub` is asked what changes are, where there is a Koji. What is away is asked again after a while, and meanwhile
    costs nobody a failure.
    """

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        builder: Builder,
        parse: intake.Parse,
        *,
        hub: Hub | None = None,
        clock: Callable[[], float] = time.time,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self.engine = outbox.announcing(engine, settings.announced)
        self.settings = settings
        self._gauge = Gauge()
        self.builder = Measured(builder, self._gauge)
        self._parse = parse
        self._clock = clock
        self._alive = alive
        self._hub = hub
        self._reconcile_at = 0.0
        self._images_at = math.inf
        self._watch_at = self._submit_at = self._resolve_at = 0.0

    def once(self) -> int:
        """One pass; how much was done. Raises sqlalchemy's DBAPIError where the database is in trouble."""
        now, settings = self._clock(), self.settings
        if now >= self._reconcile_at:
            anew = self._reconcile_at > 0  # at the start, they were
            reconcile.reconcile(self.engine, settings, now, anew=anew, hub=self._hub)
            self._reconcile_at, self._images_at = now + settings.reconcile.every_seconds, math.inf
        elif now >= self._images_at:
            self._images_at = math.inf
            reconcile.look(self.engine, settings, now, anew=True)
        if self.idle():
            return 0
        with self.engine.begin() as connection:
            taken = intake.read(connection, self._parse, settings, now)
            self._heed(connection, taken, now)
        done = taken.messages + self._resolved(now)
        done += operators.carry_out(self.engine, self.builder, settings, now)
        with self.engine.begin() as connection:
            began = time.monotonic()
            if planning.settle(connection, settings, now):
                self._gauge.count("plan", "settled", time.monotonic() - began)
                done += 1
            done += planning.begin_approved(connection, settings, now)
        if now >= self._watch_at:
            self._watch_at = now + settings.watch_seconds
            done += self._patiently(watch, now)
        with self.engine.begin() as connection:
            done += dispatch.release(connection, settings, now)
            done += dispatch.intend(connection, settings, now)
        if now >= self._submit_at:
            self._submit_at = now
            done += self._patiently(dispatch.submit, now)
        with self.engine.begin() as connection:
            for wave_id in waves.finish(connection, now):
                outcome.weigh(connection, wave_id, settings, now)
                log.info("wave %d is finished", wave_id)
        return done

    def _heed(self, connection: Connection, taken: intake.Taken, now: float) -> None:
        """A message says that a build ended: one of ours is looked at now, the images of others soon."""
        if taken.tasks:
            self._watch_at = 0.0
        refs = {entry.ref for entry in rebuilds.in_states(connection, [State.BUILDING])} if taken.tasks else set()
        others = taken.images or {str(task) for task in taken.tasks} - refs
        if others and self.settings.inventory.source == "koji":
            self._images_at = min(self._images_at, now + self.settings.settle_seconds)

    def _resolved(self, now: float) -> int:
        """Ask the hub what the new changes are."""
        if self._hub is None or now < self._resolve_at:
            return 0
        try:
            return resolve(self.engine, self._hub)
        except InfrastructureError as trouble:
            self._resolve_at = now + self.settings.koji.poll_seconds
            log.warning("changes wait: %s", trouble)
            return 0

    def _patiently(self, work: Work, now: float) -> int:
        """Ask the builder; where it is away, it is asked again with the next watch."""
        try:
            return work(self.engine, self.builder, self.settings, now)
        except InfrastructureError as trouble:
            self._submit_at = self._watch_at = now + self.settings.watch_seconds
            log.warning("builder %s cannot be asked: %s", self.builder.name, trouble)
            return 0

    def beat(self) -> None:
        """Say that the loop gets on, where it is time to."""
        now = self._clock()
        if self._gauge.due(now):
            with self.engine.begin() as connection:
                self._gauge.beat(connection, now)

    def end(self) -> None:
        """Say that the loop was told to end: it is not missed."""
        with self.engine.begin() as connection:
            self._gauge.beat(connection, self._clock())
            heartbeats.stopped(connection, ("engine", "builder"))

    def idle(self) -> bool:
        """Whether nothing is left to be done: no unread message, settling change or approved wave, nothing open."""
        with reading(self.engine) as connection:
            return not (_unplanned(connection) or rebuilds.any_open(connection))

    def stands(self) -> bool:
        """Whether nothing will be done without a new message or an operator: idle, or all that is left is held."""
        with reading(self.engine) as connection:
            return not (_unplanned(connection) or rebuilds.any_moving(connection, self._clock()))

    def run(self, stop: threading.Event, *, until_idle: bool = False) -> None:
        """Pass after pass until `stop` is set, or until nothing is left that can be done.

        A database that went away is waited for; with `until_idle` it raises UnreachableError instead.
        """
        while not stop.is_set():
            try:
                done = self.once()
                self.beat()
                if until_idle and not done and self.stands():
                    return
            except DBAPIError as error:
                if until_idle:
                    raise UnreachableError(f"database: {first_line(error)}") from None
                log.error("database: %s; trying again in %.0f s", first_line(error), DATABASE_PAUSE)
                stop.wait(DATABASE_PAUSE)
                continue
            self._alive()
            if not done:
                stop.wait(self.settings.poll_seconds)


def _unplanned(connection: Connection) -> bool:
    return bool(
        inbox.unread(connection, 1)
        or changes.settling(connection)
        or waves.approved(connection)
        or actions.any_requested(connection)
    )
