"""A builder that answers late, or never: what the engine makes of it. Calls are answered when the test says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import pytest
from integration.workbench import BASH, Holding, Workbench, image
from sqlalchemy import Engine

from rebuilder.domain.build import BuildRejected, Phase, SiteError, Status
from rebuilder.domain.errors import InfrastructureError
from rebuilder.engine.submission import ARRIVING_SECONDS
from rebuilder.store import cancellations, holds
from rebuilder.store.database import reading

FIX = "openssl-3.2.2-1.fc42"


class Scene:
    """A workbench whose builder's calls are held."""

    def __init__(self, store: Engine, *images: str, **settings: object) -> None:
        self.bench = Workbench(store, [image(name, seconds=100) for name in images or ("app",)], **settings)
        self.revive()
        self.bench.tell(FIX)
        self.step()

    def revive(self) -> None:
        """A new engine; the calls of the one before are gone with it."""
        self.calls = Holding()
        self.bench.restart(self.calls)

    def step(self, seconds: float = 0, *answered: str) -> None:
        """Time passes; then calls of these names are answered, and those that come of that."""
        self.bench.clock.now += seconds
        self._passes()
        for _ in range(6):
            if not self.calls.let(*answered):
                break
            self._passes()

    def _passes(self) -> None:
        """Those that something is done in, and one more: an engine that never comes to rest fails no test for ever."""
        for _ in range(5):
            if not self.bench.loop.once():
                break

    def out(self, name: str) -> int:
        return len(self.calls.named(name))

    def finish(self) -> None:
        for _ in range(60):
            self.step(10, "submit", "find", "poll", "result", "cancel")
            if self.bench.loop.idle() and not self.calls.held:
                break

    @property
    def state(self) -> str:
        ((_, found),) = self.bench.states()
        return found


def test_a_submission_that_comes_through_after_its_time_limit_is_the_one_that_counts(store: Engine) -> None:
    scene = Scene(store, max_attempts=1)
    scene.step(301, "find")
    assert (scene.state, scene.out("submit")) == ("submitting", 1), "the builder does not have it, and may yet get it"
    scene.step(3000, "find")
    assert (scene.state, scene.out("submit")) == ("submitting", 1), "never a second one beside it"
    scene.step(0, "submit")
    assert scene.state == "building"
    scene.finish()
    assert (scene.state, scene.bench.submitted()) == ("succeeded", ["app"])


def test_a_late_submission_is_found_by_its_key_before_it_is_answered(store: Engine) -> None:
    scene = Scene(store)
    scene.calls.named("submit")[0].arrive()
    scene.step(301, "find")
    assert scene.state == "building"
    scene.finish()
    assert (scene.state, scene.bench.submitted()) == ("succeeded", ["app"])


def test_an_answer_that_is_lost_at_the_last_attempt_fails_no_image(store: Engine) -> None:
    scene = Scene(store, max_attempts=1)

    def lost(call: str) -> None:
        scene.bench.builder.after = lambda _: None
        raise InfrastructureError("the connection was closed")

    scene.bench.builder.after = lost
    scene.step(0, "submit")
    assert (scene.state, scene.bench.entry("app").attempt) == ("submitting", 1)
    scene.finish()
    assert (scene.state, scene.bench.submitted()) == ("succeeded", ["app"])


def test_a_builder_that_says_no_is_believed_only_once_the_request_cannot_arrive_any_more(store: Engine) -> None:
    scene = Scene(store, max_attempts=1)

    def lost(call: str) -> None:
        raise InfrastructureError("no answer")

    scene.bench.builder.before = lambda call: lost(call) if call == "submit" else None
    scene.step(0, "submit")
    scene.step(ARRIVING_SECONDS / 2, "find")
    assert scene.state == "submitting"
    scene.step(ARRIVING_SECONDS, "find")
    assert scene.state == "queued"
    scene.bench.builder.before = lambda call: None
    scene.finish()
    assert scene.state == "succeeded", "what never arrived is no attempt, at the last one neither"


def test_a_connection_that_is_refused_uses_up_no_attempt(store: Engine) -> None:
    scene = Scene(store, max_attempts=1)

    def refused(call: str) -> None:
        if call == "submit":
            raise InfrastructureError("connection refused", arrived=False)

    scene.bench.builder.before = refused
    for _ in range(20):
        scene.step(100, "submit", "find")
    assert scene.state in ("queued", "submitting")
    scene.bench.builder.before = lambda call: None
    scene.step(4000, "submit", "find")
    scene.finish()
    assert scene.state == "succeeded"


def test_what_is_canceled_while_its_submission_is_out_is_stopped_as_soon_as_it_arrives(store: Engine) -> None:
    scene = Scene(store)
    scene.bench.ask("cancel", "app:f42")
    scene.step()
    assert scene.state == "canceled", "at once, whatever the builder does"
    scene.bench.ask("retry", "app:f42")
    scene.step(60, "find", "cancel")
    assert (scene.state, scene.out("submit")) == ("queued", 1), "no second build of the image beside it"
    scene.step(0, "submit")
    scene.step(60, "find", "cancel")
    assert [build.canceled for build in scene.bench.builder.builds.values()] == [True]
    scene.finish()
    assert (scene.state, scene.bench.submitted()) == ("succeeded", ["app", "app"])


def test_what_is_canceled_before_a_death_is_stopped_by_the_next_engine(store: Engine) -> None:
    scene = Scene(store)
    scene.calls.named("submit")[0].arrive()
    scene.bench.ask("cancel", "app:f42")
    scene.step()
    scene.revive()
    scene.step(60, "find", "cancel")
    assert [build.canceled for build in scene.bench.builder.builds.values()] == [True]
    with reading(store) as connection:
        assert not cancellations.any_pending(connection)


def test_what_is_found_after_it_was_said_to_be_nowhere_is_stopped_as_no_rebuild_waits_for_it(store: Engine) -> None:
    """The submission of an engine that died was long on its way, and so was a question of the next one."""
    scene = Scene(store)
    (late,) = scene.calls.named("submit")
    scene.revive()
    scene.step()
    (slow,) = scene.calls.named("find")
    scene.bench.ask("cancel", "app:f42")
    scene.step()
    (quick,) = [call for call in scene.calls.named("find") if call is not slow]
    scene.calls.held.remove(quick)
    quick.answer()
    scene.step()
    with reading(store) as connection:
        assert not cancellations.any_pending(connection), "the builder did not have it"
    late.arrive()
    scene.step(0, "find")
    scene.step(5, "cancel")
    assert [build.canceled for build in scene.bench.builder.builds.values()] == [True]
    assert scene.state == "canceled"


def test_a_build_keeps_its_slot_until_the_builder_has_stopped_it(store: Engine) -> None:
    scene = Scene(store, "app", "other", max_builds=1)
    scene.step(0, "submit")
    (first,) = [name for name, state in scene.bench.states() if state == "building"]
    scene.bench.ask("cancel", f"{first}:f42")
    scene.step(5)
    assert (scene.out("cancel"), scene.out("submit")) == (1, 0), "it may still run"
    scene.step(0, "cancel")
    assert scene.out("submit") == 1


def test_a_build_over_its_time_limit_is_not_repeated_before_the_builder_has_stopped_it(store: Engine) -> None:
    scene = Scene(store, time_limit=50)
    scene.step(0, "submit")
    scene.step(10, "poll")
    scene.step(51, "poll")
    assert scene.state == "queued"
    scene.step(5, "poll", "submit", "find")
    assert (scene.state, scene.out("cancel")) == ("queued", 1)
    scene.step(5, "cancel")
    assert [build.canceled for build in scene.bench.builder.builds.values()] == [True]
    scene.step(60, "submit")
    assert scene.state == "building"


def test_a_build_that_waits_at_the_builder_does_not_take_too_long(
    store: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(store, time_limit=50)
    waiting = True

    def poll(refs: Sequence[str]) -> Mapping[str, Status]:
        begun = scene.bench.clock.now - 10
        return {ref: Status(Phase.WAITING) if waiting else Status(Phase.RUNNING, begun=begun) for ref in refs}

    monkeypatch.setattr(scene.bench.builder, "poll", poll)
    scene.step(0, "submit")
    for _ in range(10):
        scene.step(100, "poll")
    assert scene.state == "building"
    assert scene.bench.loop.controllers.polling.waiting == {scene.bench.entry("app").ref}
    waiting = False
    scene.step(10, "poll")
    assert scene.bench.entry("app").begun_at == scene.bench.clock.now - 10
    scene.step(30, "poll")
    assert scene.state == "building"
    scene.step(30, "poll")
    assert scene.state == "queued", "40 s, by the builder's clock, and 30 more"


def test_an_own_limit_bounds_the_wait_at_the_builder(store: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(store, queue_limit=500)

    def poll(refs: Sequence[str]) -> Mapping[str, Status]:
        return dict.fromkeys(refs, Status(Phase.WAITING))

    monkeypatch.setattr(scene.bench.builder, "poll", poll)
    scene.step(0, "submit")
    scene.step(400, "poll")
    assert scene.state == "building"
    scene.step(200, "poll")
    assert scene.state == "queued"
    assert scene.bench.entry("app").reason == "waited at the builder for over 500 s"


def test_a_clock_that_is_set_ahead_or_back_ends_no_build(store: Engine) -> None:
    bench = Workbench(store, [image("app", seconds=1e6)], time_limit=1000)
    bench.tell(FIX)
    bench.passes(20)
    for shift in (86400.0, -600.0):
        bench.loop.clock.now = partial(lambda by: bench.clock.now + by, shift)  # type: ignore[method-assign]
        bench.passes(60)
        assert bench.states() == [("app", "building")]
    bench.tell("nothing-1-1.fc42")
    bench.passes(60)
    assert bench.states() == [("app", "building")]


def test_a_rejected_build_has_failed(store: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(store)

    def submit(request: object) -> None:
        raise BuildRejected("the Dockerfile is empty")

    monkeypatch.setattr(scene.bench.builder, "submit", submit)
    scene.revive()
    scene.step(0, "find", "submit")
    assert (scene.state, scene.bench.entry("app").reason) == ("failed", "the Dockerfile is empty")


def test_a_site_that_refuses_everything_fails_nobody_and_is_tried_with_one_build(store: Engine) -> None:
    names = [f"app{number}" for number in range(6)]
    scene = Scene(store, *names, max_builds=6)

    def forbidden(call: str) -> None:
        if call == "submit":
            raise SiteError("pipelineruns is forbidden")

    scene.bench.builder.before = forbidden
    scene.step(0, "submit")
    tried = 0
    for _ in range(10):
        scene.step(40, "find")
        assert scene.out("submit") <= 1
        tried += scene.out("submit")
        scene.step(0, "submit")
    assert tried >= 3
    assert {state for _, state in scene.bench.states()} <= {"queued", "submitting"}
    failure = scene.bench.loop.controllers.submissions.site_failure
    assert failure is not None
    assert failure.reason == "pipelineruns is forbidden"
    scene.bench.builder.before = lambda call: None
    scene.step(4000, "find", "submit")
    assert scene.bench.loop.controllers.submissions.site_failure is None
    scene.finish()
    assert {state for _, state in scene.bench.states()} == {"succeeded"}


def test_a_call_that_hangs_holds_up_no_other_image(store: Engine) -> None:
    names = [f"app{number}" for number in range(8)]
    scene = Scene(store, *names, max_builds=8)
    scene.step(0, "submit")
    hung = scene.bench.entry("app3").ref
    for _ in range(30):
        scene.step(4)
        for held in list(scene.calls.held):
            if not _is_about(held.call, hung):
                scene.calls.held.remove(held)
                held.answer()
    states = dict(scene.bench.states())
    assert states.pop("app3") == "building"
    assert set(states.values()) == {"succeeded"}


def _is_about(call: Callable[..., object], ref: str) -> bool:
    arguments: list[object] = []
    while hasattr(call, "func"):
        arguments += call.args  # type: ignore[attr-defined]
        call = call.func
    return any(ref == one or (isinstance(one, tuple) and ref in one) for one in arguments)


def test_a_build_that_cannot_be_read_holds_up_no_other(store: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Workbench(store, [image("bad"), image("good")])
    bench.tell(FIX)
    bench.passes()
    bad, poll = bench.entry("bad").ref, bench.builder.poll
    monkeypatch.setattr(bench.builder, "poll", lambda refs: {r: s for r, s in poll(refs).items() if r != bad})
    bench.passes(60)
    assert dict(bench.states()) == {"bad": "building", "good": "succeeded"}
    monkeypatch.undo()
    bench.passes(60)
    assert dict(bench.states()) == {"bad": "succeeded", "good": "succeeded"}


def test_nothing_is_submitted_after_a_pause_or_a_hold_was_said(store: Engine) -> None:
    scene = Scene(store, "app", "other")
    scene.revive()  # both are submitting; the builder is asked for them first
    scene.step()
    with store.begin() as connection:
        holds.hold(connection, "app:f42", "ann", "", None, scene.bench.clock.now)
    scene.step(0, "find")
    assert scene.out("submit") == 1
    with store.begin() as connection:
        holds.pause(connection, "ann", "", scene.bench.clock.now)
    scene.revive()
    scene.step(60, "find")
    assert scene.out("submit") == 0
    with store.begin() as connection:
        holds.resume(connection, scene.bench.clock.now)
        holds.release(connection, "app:f42", "ann", "", scene.bench.clock.now)
    scene.finish()
    assert {state for _, state in scene.bench.states()} == {"succeeded"}


def test_what_hangs_when_the_engine_dies_is_adopted_by_the_next(store: Engine) -> None:
    names = [f"app{number}" for number in range(10)]
    scene = Scene(store, *names, max_builds=10)
    for held in scene.calls.named("submit"):
        held.arrive()
    assert {state for _, state in scene.bench.states()} == {"submitting"}
    scene.revive()
    scene.finish()
    assert {(entry.state, entry.attempt) for entry in scene.bench.rebuilds()} == {("succeeded", 1)}
    assert sorted(scene.bench.submitted()) == names


def test_a_change_that_joins_what_never_arrived_is_built_though_that_arrives_late(store: Engine) -> None:
    bench = Workbench(store, [image("app", rpms=("openssl-libs-1:3.2.1-1.fc42.x86_64", BASH))], retry_seconds=100)
    calls = Holding()
    bench.restart(calls)
    bench.tell(FIX)
    bench.loop.once()
    bench.loop.once()
    (late,) = calls.named("submit")
    calls.held.clear()
    late.future.set_exception(InfrastructureError("connection refused", arrived=False))  # as it seemed
    bench.loop.once()
    assert bench.states() == [("app", "queued")]
    bench.tell("bash-5.9-1.fc42")
    bench.loop.once()
    late.arrive()
    bench.restart()
    bench.finish()
    assert bench.states() == [("app", "succeeded")]
    assert "bash-5.9-1.fc42.x86_64" in bench.installed("app")


def test_the_engine_holds_no_transaction_while_a_call_is_out(store: Engine) -> None:
    scene = Scene(store, "app", "other")
    for _ in range(30):
        assert store.pool.checkedout() == 0  # type: ignore[attr-defined]
        scene.step(10)
        scene.calls.let("submit", "find", "poll", "result")
    scene.step()
    assert {state for _, state in scene.bench.states()} == {"succeeded"}
