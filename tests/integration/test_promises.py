"""The whole engine under random messages, outcomes, operators and crashes keeps its promises."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from integration.workbench import BASH, SSL, Holding, Workbench, image
from sqlalchemy import func, select
from support import databases, truth
from support.examples import examples

from rebuilder.config import SimulatedSettings
from rebuilder.domain.currency import Currency
from rebuilder.domain.errors import InfrastructureError
from rebuilder.domain.lifecycle import LIVE, OPEN
from rebuilder.engine import planning
from rebuilder.queries import coverage
from rebuilder.store import actions, cancellations, changes, holds, image_states, rebuilds
from rebuilder.store.actions import Verb
from rebuilder.store.database import reading
from rebuilder.store.models import Rebuild, RebuildEdge

BOTH = (SSL, BASH)
IMAGES = (
    image("base", rpms=BOTH, seconds=20),
    image("left", "base", rpms=BOTH, seconds=10),
    image("right", "base", rpms=(SSL,), seconds=30),
    image("top", "left", "right", rpms=BOTH, seconds=10),
    image("alone", rpms=(BASH,), seconds=40),
)
NAMES = st.sampled_from([found.name for found, _ in IMAGES])
TIME_LIMIT = 200
SEVERITIES = st.sampled_from(["low", "urgent"])
KEYS = NAMES.map(lambda name: f"{name}:f42")


class Crash(Exception):
    """The engine dies here."""


class Engine(RuleBasedStateMachine):
    """A database, an engine on it, a builder that outlives it, and everything that can happen to them."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        engine = databases.sqlite(Path(self.folder.name) / "test.db")
        self.bench = Workbench(engine, IMAGES, settle_seconds=20, max_builds=3, max_attempts=2, time_limit=TIME_LIMIT)
        self.sent: list[tuple[str, str, str]] = []
        self._live()

    def _live(self) -> None:
        """A new engine, whose calls are answered when the test says so. Those of the one before are gone with it."""
        self.calls = Holding()
        self.bench.restart(self.calls)

    def teardown(self) -> None:
        self.trouble_ends()
        self.bench.store.dispose()
        self.folder.cleanup()

    @initialize()
    def a_wave_has_begun(self) -> None:
        self._send("openssl-5.5-1.fc42", "low", "first")
        self.time_passes(60)

    @rule(package=st.sampled_from(["openssl", "bash"]), minor=st.integers(6, 9), severity=SEVERITIES)
    def tell(self, package: str, minor: int, severity: str) -> None:
        self.sent.append((f"{package}-5.{minor}-1.fc42", severity, f"m{len(self.sent)}"))
        self._send(*self.sent[-1])

    def _send(self, nvr: str, severity: str, ident: str) -> None:
        self.bench.tell(nvr, severity=severity, ident=ident)

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def tell_again(self, data: st.DataObject) -> None:
        nvr, severity, ident = data.draw(st.sampled_from(self.sent))
        self._send(nvr, severity, data.draw(st.sampled_from([ident, f"{ident} again"])))

    @rule(seconds=st.integers(0, 60))
    def time_passes(self, seconds: int) -> None:
        self.bench.clock.now += seconds
        self._one_pass()

    @rule(failing=st.sets(KEYS, max_size=2), aborting=st.dictionaries(KEYS, st.integers(1, 3), max_size=2))
    def builds_end_so(self, failing: set[str], aborting: dict[str, int]) -> None:
        self.bench.builder._settings = SimulatedSettings(failures=tuple(sorted(failing)))
        self.bench.builder._aborts = dict(aborting)

    @rule(call=st.sampled_from(["submit", "find", "poll", "result", "cancel"]), after=st.booleans(), dies=st.booleans())
    def a_call_goes_wrong(self, call: str, after: bool, dies: bool) -> None:
        """The builder cannot be reached, or the engine dies, before the call or after it."""

        def trouble(called: str) -> None:
            if called == call:
                self.bench.builder.before = self.bench.builder.after = lambda _: None
                raise Crash if dies else InfrastructureError("no route to host")

        if after:
            self.bench.builder.after = trouble
        else:
            self.bench.builder.before = trouble
        self._one_pass()

    @precondition(lambda self: self.calls.held)
    @rule(data=st.data())
    def a_request_arrives(self, data: st.DataObject) -> None:
        """The builder does what it was asked to; the answer may come late, or never."""
        self._survive(data.draw(st.sampled_from(self.calls.held)).arrive)

    @precondition(lambda self: self.calls.held)
    @rule(data=st.data())
    def an_answer_comes(self, data: st.DataObject) -> None:
        at = data.draw(st.integers(0, len(self.calls.held) - 1))
        self._survive(lambda: self.calls.answer(at))
        self._one_pass()

    @rule(seconds=st.integers(0, 30))
    def the_builder_is_quick_for_a_while(self, seconds: int) -> None:
        self.bench.clock.now += seconds
        for _ in range(20):
            self._one_pass()
            held = list(self.calls.held)
            while held and self.calls.held:
                held.pop()
                self._survive(self.calls.answer)

    @rule()
    def time_runs_out_for_whatever_is_out(self) -> None:
        self.bench.clock.now += self.bench.settings.calls.submit_seconds
        self._one_pass()

    @rule(data=st.data())
    def a_build_takes_too_long(self, data: st.DataObject) -> None:
        now = self.bench.clock.now
        if builds := [b for b in self.bench.builder.builds.values() if not b.canceled and now < b.ends]:
            data.draw(st.sampled_from(builds)).ends += 2 * TIME_LIMIT

    @rule()
    def restart(self) -> None:
        self._live()
        self._one_pass()

    def _one_pass(self) -> None:
        self._survive(self.bench.loop.once)

    def _survive(self, step: Callable[[], Any]) -> None:
        """Do it; where the engine dies of it, another one takes its place."""
        try:
            step()
        except Crash:
            self._live()

    @rule(verb=st.sampled_from([Verb.RETRY, Verb.CANCEL, Verb.REBUILD, Verb.REBUILD_ALL]), key=KEYS)
    def an_operator_asks(self, verb: Verb, key: str) -> None:
        with self.bench.store.begin() as connection:
            actions.request(connection, verb, key, "ann", "", self.bench.clock.now)

    @rule(key=KEYS, seconds=st.none() | st.integers(10, 200))
    def an_image_is_held(self, key: str, seconds: int | None) -> None:
        now = self.bench.clock.now
        with self.bench.store.begin() as connection:
            holds.hold(connection, key, "ann", "", None if seconds is None else now + seconds, now)

    @rule(key=KEYS)
    def an_image_is_released(self, key: str) -> None:
        with self.bench.store.begin() as connection:
            holds.release(connection, key, "ann", "", self.bench.clock.now)

    @rule(pause=st.booleans())
    def the_engine_is_paused_or_resumed(self, pause: bool) -> None:
        with self.bench.store.begin() as connection:
            if pause:
                holds.pause(connection, "ann", "", self.bench.clock.now)
            else:
                holds.resume(connection, self.bench.clock.now)

    @invariant()
    def no_child_is_built_before_its_parents(self) -> None:
        child, parent = Rebuild.__table__.alias(), Rebuild.__table__.alias()
        query = (
            select(func.count())
            .select_from(RebuildEdge)
            .join(child, child.c.id == RebuildEdge.rebuild_id)
            .join(parent, parent.c.id == RebuildEdge.parent_id)
            .where(child.c.state.in_(LIVE), parent.c.state.not_in(["succeeded", "unneeded"]))
        )
        with reading(self.bench.store) as connection:
            assert connection.scalar(query) == 0

    @invariant()
    def an_image_has_at_most_one_live_build(self) -> None:
        now = self.bench.clock.now
        running = [b.order.image.key for b in self.bench.builder.builds.values() if not b.canceled and now < b.ends]
        assert len(running) == len(set(running)) <= 3

    @invariant()
    def no_build_runs_that_nobody_watches_or_stops(self) -> None:
        now = self.bench.clock.now
        running = {key for key, b in self.bench.builder.builds.items() if not b.canceled and now < b.ends}
        with reading(self.bench.store) as connection:
            watched = {entry.key for entry in rebuilds.in_states(connection, OPEN)}
            stopping = {build.key for build in cancellations.pending(connection)}
        assert running <= watched | stopping

    @invariant()
    def no_transaction_is_open_while_a_call_is_out(self) -> None:
        assert self.bench.store.pool.checkedout() == 0  # type: ignore[attr-defined]

    @invariant()
    def nothing_is_submitted_twice(self) -> None:
        assert self.bench.builder.twice == []

    @invariant()
    def nothing_is_green_that_holds_an_older_rpm(self) -> None:
        with reading(self.bench.store) as connection:
            now, settings = self.bench.clock.now, self.bench.settings
            lacking, states = truth.lacking(connection), image_states.read(connection, now)
            told = {image: {one.change.build.nvr for one in found.missing} for image, found in states.items()}
            assert {image: missing for image, missing in told.items() if missing} == lacking
            green = {image for image, found in states.items() if found.state is Currency.CURRENT}
            assert green.isdisjoint(lacking.keys() | truth.unread(connection))
            for nvr in sorted(set().union(*lacking.values()))[-1:]:
                found = coverage.read(connection, nvr, settings, now)
                assert found.percent != 100 and not found.everywhere

    def trouble_ends(self) -> None:
        """Then everything finishes, and nothing is stale that could be built."""
        bench = self.bench
        bench.builder.before = bench.builder.after = lambda _: None
        self.builds_end_so(set(), {})
        bench.restart()
        with bench.store.begin() as connection:
            holds.resume(connection, self.bench.clock.now)
            for found, _ in IMAGES:
                holds.release(connection, found.key, "ann", "", bench.clock.now)
        bench.finish()
        for found, _ in IMAGES:
            with bench.store.begin() as connection:
                actions.request(connection, Verb.RETRY, found.key, "ann", "", bench.clock.now)
        bench.finish()
        bench.clock.now += bench.settings.reconcile.every_seconds
        bench.finish()
        with reading(bench.store) as connection:
            assert rebuilds.in_states(connection, OPEN) == []
            known: list[Any] = [item.change for item in changes.taken_up(connection)]
            assert not planning.draft(connection, known, bench.settings, bench.clock.now).plan.rebuilds


TestPromises = Engine.TestCase
TestPromises.settings = examples(
    25, stateful_step_count=30, suppress_health_check=list(HealthCheck), derandomize=True,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
