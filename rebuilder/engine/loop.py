"""The loop: decides and records. Everything that waits for somebody else is a call beside it.

Every pass begins from what the database says, so the process can be killed anywhere and started again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence, Set
from concurrent.futures import Executor

from msgspec import Struct, field
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from rebuilder.builders.protocol import Builder
from rebuilder.config import Settings
from rebuilder.domain.errors import UnreachableError
from rebuilder.domain.lifecycle import State
from rebuilder.engine import command_executor, dispatch, ingest, planning, report, testing
from rebuilder.engine.calls import Answer, Calls, Kind
from rebuilder.engine.clock import Clock, SystemClock
from rebuilder.engine.clock_jumps import ClockJumps
from rebuilder.engine.context import Context, Controller
from rebuilder.engine.controllers import Controllers
from rebuilder.engine.journal import Journal
from rebuilder.engine.metrics import Metrics
from rebuilder.engine.moved_bases import plan_moved
from rebuilder.engine.naming import Names
from rebuilder.engine.promotion import promote_ready, ready_to_promote
from rebuilder.engine.withdrawal import drop_causes
from rebuilder.inventory.koji.session import KojiSession
from rebuilder.inventory.source import source_of
from rebuilder.store import (
    cancellations,
    deliveries,
    heartbeats,
    outbox,
    rebuilds,
    verdicts,
    waves,
    work,
)
from rebuilder.store.database import check_version, first_line, reading
from rebuilder.store.heartbeats import Activity
from rebuilder.store.lease import renewing
from rebuilder.store.transitions import Transitions
from rebuilder.store.upsert import chunks

log = logging.getLogger(__name__)
DATABASE_PAUSE = 5.0
RECORDED = 200  # answers in one transaction
DECIDE_SECONDS = 0.2  # at the longest, while answers come that change nothing yet
TICK_SECONDS = 0.8  # the loop is never silent for a second
GRACE_SECONDS = 1.0  # for calls that are out when the engine is told to end


class Runtime(Struct, frozen=True):
    """What the process gives the loop: time, and an `executor` of calls (None: threads of its own).

    `alive` is called after a pass and a wait, each second at least.
    """

    clock: Clock = field(default_factory=SystemClock)
    executor: Executor | None = None
    alive: Callable[[], None] = lambda: None


class Loop:
    """The engine. `parse` turns messages into events; `hub` is asked what changes are, where there is a Koji."""

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        builder: Builder,
        parse: ingest.Parse,
        *,
        hub: KojiSession | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        runtime = runtime or Runtime()
        clock = runtime.clock
        self.engine = outbox.announcing(engine, settings.announced)
        self.calls = Calls(settings.calls, clock, runtime.executor)
        self.metrics = Metrics(clock)
        self._context = Context(self.engine, settings, builder, hub, clock, self.calls)
        self._parse = parse
        self._alive = runtime.alive
        self._journal, self._jumps = Journal(engine, clock), ClockJumps(clock)
        self._decide_at = 0.0
        self.controllers = Controllers(self._context)

    def once(self) -> int:
        """One pass; how much was done. Raises sqlalchemy's DBAPIError where the database does not answer."""
        self._follow_jumps()
        answers = self.calls.answers()
        done = self._record(answers)
        controllers: Sequence[Controller] = self.controllers.all
        if not answers and not self.calls.any_out() and self.idle():
            controllers = self.controllers.when_idle
        elif done or not answers or self.clock.monotonic() >= self._decide_at:
            done += self._decide()
            self._decide_at = self.clock.monotonic() + DECIDE_SECONDS
        else:  # nothing lets others go on: only who has more to ask after these answers asks
            controllers = self._woken_by({answer.kind for answer in answers})
        for controller in controllers:
            controller.ask()
        return done + self.calls.ready + (self.controllers.may_plan and self.controllers.reconciliation.due_to_look)

    def _woken_by(self, kinds: Set[Kind]) -> list[Controller]:
        return [controller for controller in self.controllers.all if controller.woken_by & kinds]

    def _follow_jumps(self) -> None:
        """Where the clock was set, what the database keeps by the clock moves along."""
        if self._jumps.any:
            with self.engine.begin() as connection:
                self._jumps.follow(connection)
            self._jumps.followed()

    def _record(self, answers: Sequence[Answer]) -> int:
        """Record what the world answered, many answers in one transaction."""
        self.metrics.answered(answers)
        done = 0
        for part in chunks(answers, RECORDED):
            with self.engine.begin() as connection:
                for controller in self.controllers.all:
                    batch = [answer for answer in part if answer.kind in controller.kinds]
                    done += controller.record(connection, batch) if batch else 0
                self._finish_waves(connection)
        return done

    def _finish_waves(self, connection: Connection) -> None:
        now = self.clock.now()
        for wave_id in waves.finish(connection, now):
            planning.record_makespan(connection, wave_id, self._context.settings, now)
            log.info("wave %d is finished", wave_id)
            if self._context.settings.external_changes == "digest":
                # A base may have moved while the wave stood on its last digest.
                self.controllers.reconciliation.look_soon()

    def _decide(self) -> int:
        """Read the inbox, execute commands, plan, and commit to builds: all that the database alone can answer."""
        settings = self._context.settings
        with self.engine.begin() as connection:
            transitions = self._context.transitions(connection)
            done = self._ingest(transitions) + command_executor.execute(transitions, settings)
            done += testing.settle(transitions, Names.of(self._context.builder, settings))
            done += self._plan(connection)
            done += dispatch.release(transitions, settings)
            reserved = dispatch.reserve_slots(transitions, settings)
            self.controllers.externals.ask_for(dispatch.to_ask_for(connection, settings, self.clock.now()))
            self._finish_waves(connection)
            done += promote_ready(connection, settings, self.clock.now())
        self.controllers.submissions.reserved(reserved)
        return done + len(reserved)

    def _ingest(self, transitions: Transitions) -> int:
        """A message may say that a build ended: one of ours is polled at once, the images of others are read soon."""
        context, connection = self._context, transitions.connection
        read = ingest.read(connection, self._parse, context.settings, context.clock.now())
        self.controllers.repositories.made(read.repositories)
        if read.withdrawals:
            drop_causes(transitions)
        if read.tasks:
            self.controllers.polling.soon()
        building = rebuilds.in_states(connection, [State.BUILDING]) if read.tasks else []
        others = read.images or {str(task) for task in read.tasks} - {entry.ref for entry in building}
        if others and source_of(context.settings).follows_koji_tags:
            self.controllers.reconciliation.images_changed()
        return read.messages

    def _plan(self, connection: Connection) -> int:
        if not self.controllers.may_plan:
            return 0
        clock, settings = self._context.clock, self._context.settings
        began = clock.monotonic()
        settled = planning.settle(connection, settings, clock.now())
        if settled:
            self.metrics.count("plan", "settled", clock.monotonic() - began)
        begun = planning.begin_approved(connection, settings, clock.now())
        due = self.controllers.reconciliation.due_to_look
        moved = plan_moved(connection, settings, clock.now()) if due else None
        return settled + begun + self.controllers.reconciliation.catch_up(connection) + (moved is not None)

    def beat(self) -> None:
        """Say that the loop gets on, and what it waits for, where it is time to. Raises UnreachableError.

        That is where the database's tables were changed under it.
        """
        if self.metrics.due:
            with renewing(self.engine) as connection:
                check_version(connection)
                self.metrics.beat(connection, self._activity)
            self._journal.check()

    def _activity(self) -> Activity:
        return report.activity(self._context, self.controllers, self.metrics)

    @property
    def clock(self) -> Clock:
        """The clock of this engine."""
        return self._context.clock

    def end(self) -> None:
        """Take in the answers that come within a moment, then say that the engine was told to end: it is not missed."""
        until = self.clock.monotonic() + GRACE_SECONDS
        while self.calls.any_out() and (left := until - self.clock.monotonic()) > 0:
            self.calls.wait(left)
            self._record(self.calls.answers())
        with self.engine.begin() as connection:
            self.metrics.beat(connection, self._activity)
            heartbeats.stopped(connection, ("engine", "builder"))

    def close(self) -> bool:
        """Let go of the builder, for a moment at most; whether no call hangs in a thread of this process."""
        ended = self.calls.close(self._context.builder.close)
        self.controllers.pushes.close()
        return ended

    def idle(self) -> bool:
        """Whether nothing is left to be done: no unread message, settling change or approved wave, nothing open."""
        with reading(self.engine) as connection:
            return not (
                self.controllers.reconciliation.due_to_look
                or work.any_left(connection)
                or self._promotable(connection)
            )

    def _promotable(self, connection: Connection) -> bool:
        """Whether nothing keeps a name that waits from being moved."""
        return bool(ready_to_promote(connection, self._context.settings, self.clock.now()))

    def at_rest(self) -> bool:
        """Whether nothing will be done without a new message or an operator: idle, or all that is left is held."""
        if self.controllers.busy:
            return False
        with reading(self.engine) as connection:
            return not (
                work.any_unplanned(connection)
                or rebuilds.any_moving(connection, self.clock.now())
                or cancellations.any_pending(connection)
                or verdicts.any_test(connection)
                or deliveries.any_pending(connection)
                or self._promotable(connection)
            )

    def run(self, stop: threading.Event, *, until_idle: bool = False) -> None:
        """Pass after pass until `stop` is set, or until nothing is left that can be done.

        A database that went away is waited for; with `until_idle` it raises UnreachableError instead. Raises what keeps
        the inventory from being read where no image is known, and nothing can be done; and LeaseLost where another
        engine acts: then nothing more is written.
        """
        forget = False
        while not stop.is_set():
            try:
                if forget:  # what was not committed may be in the memory
                    self.controllers = Controllers(self._context)
                    forget = False
                done = self.once()
                self.beat()
                if until_idle and not done and self.at_rest():
                    return
            except DBAPIError as error:
                if until_idle:
                    raise UnreachableError(f"database: {first_line(error)}") from None
                log.error("database: %s; trying again in %.0f s", first_line(error), DATABASE_PAUSE)
                self._alive()
                stop.wait(DATABASE_PAUSE)
                forget = True
                continue
            self.controllers.reconciliation.check(until_idle=until_idle)
            self._alive()
            if not done:
                self.calls.wait(min(self._context.settings.poll_seconds, TICK_SECONDS))
                self._alive()
