"""An engine that dies anywhere and is started again: nothing is lost, nothing is submitted twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from integration.workbench import SSL, Workbench, image
from sqlalchemy import Connection, Engine, event

from rebuilder.domain.build import Phase
from rebuilder.domain.errors import InfrastructureError
from rebuilder.engine import factory
from rebuilder.store import inbox
from rebuilder.store.database import reading

FIX = "openssl-3.2.2-1.fc42"
NAMES = ["base", "mid", "side", "app"]  # mid and side are built at the same time
IMAGES = (image("base"), image("mid", "base"), image("side", "base"), image("app", "mid", "base"))
ALL = [(name, "succeeded") for name in NAMES]


class Died(Exception):
    """The process ends here."""


def dying_at(place: int) -> Callable[[Any], None]:
    """Dies at the call of that number, once."""
    calls = count()

    def step(_: Any) -> None:
        if next(calls) == place:
            raise Died

    return step


def live_again(bench: Workbench) -> int:
    """Work to the end, as a new engine after every death; how many deaths there were."""
    for deaths in count():
        try:
            bench.finish(step=10)
            return deaths
        except Died:
            bench.restart()
    raise AssertionError


def proven(bench: Workbench) -> None:
    """Everything was built, in order, and each once."""
    assert bench.states() == ALL
    assert bench.submitted() == NAMES
    assert all(bench.installed(name) == {SSL.replace("3.2.1", "3.2.2")} for name in NAMES)
    assert {entry.attempt for entry in bench.rebuilds()} == {1}


def test_what_was_submitted_before_a_death_is_adopted(store: Engine) -> None:
    bench = Workbench(store, IMAGES)
    bench.builder.after = dying_at(0)
    bench.tell(FIX)
    with pytest.raises(Died):
        bench.passes()
    assert bench.states()[0] == ("base", "submitting")
    bench.restart()
    bench.passes()
    assert bench.states()[0] == ("base", "building")
    bench.finish()
    proven(bench)


def test_what_was_not_submitted_before_a_death_is_submitted(store: Engine) -> None:
    bench = Workbench(store, IMAGES)
    bench.builder.before = dying_at(0)
    bench.tell(FIX)
    with pytest.raises(Died):
        bench.passes()
    assert (bench.states()[0], bench.submitted()) == (("base", "submitting"), [])
    bench.restart()
    bench.finish()
    proven(bench)


def test_of_what_is_submitted_at_the_same_time_nothing_is_submitted_twice(store: Engine) -> None:
    bench = Workbench(store, [image(f"app{number}") for number in range(10)], max_builds=10)
    bench.builder.after = dying_at(6)
    bench.tell(FIX)
    with pytest.raises(Died):
        bench.passes()
    assert (len(bench.submitted()), {state for _, state in bench.states()}) == (7, {"submitting"})
    bench.restart()
    bench.finish()
    assert sorted(bench.submitted()) == sorted(f"app{number}" for number in range(10))
    assert {(entry.state, entry.attempt) for entry in bench.rebuilds()} == {("succeeded", 1)}


def deaths_at_every_place(store: Engine, arm: Callable[[Workbench, Callable[[Any], None]], None]) -> int:
    """The whole story again and again, with a death at the first place, the second…; how many places there are."""
    for place in range(100):
        bench = Workbench(store, IMAGES)  # the images as they first were
        bench.tell(f"openssl-3.2.{place + 2}-1.fc42")
        arm(bench, dying_at(place))
        deaths = live_again(bench)
        assert bench.states()[-4:] == ALL
        assert bench.submitted() == NAMES
        if not deaths:
            return place
    raise AssertionError


def test_a_death_before_any_call_to_the_builder_changes_nothing(store: Engine) -> None:
    def arm(bench: Workbench, die: Callable[[Any], None]) -> None:
        bench.builder.before = die

    assert deaths_at_every_place(store, arm) >= 4 * 3, "for each level: find, submit, poll, result"


def test_a_death_after_any_submission_changes_nothing(store: Engine) -> None:
    def arm(bench: Workbench, die: Callable[[Any], None]) -> None:
        bench.builder.after = die

    assert deaths_at_every_place(store, arm) == 4


def test_a_death_before_any_commit_changes_nothing(store: Engine) -> None:
    def arm(_: Workbench, die: Callable[[Any], None]) -> None:
        @event.listens_for(store, "commit")
        def commit(connection: Connection) -> None:
            if not connection.get_execution_options().get("reading"):
                die(connection)

    assert deaths_at_every_place(store, arm) >= 4 * 3


def test_a_submission_that_arrived_although_it_was_not_answered_is_adopted(store: Engine) -> None:
    bench = Workbench(store, IMAGES)
    times = count()

    def unanswered(call: str) -> None:
        if next(times) == 0:
            raise InfrastructureError("the answer was lost")

    bench.builder.after = unanswered
    bench.tell(FIX)
    bench.finish()
    assert bench.states() == ALL
    assert Counter(bench.submitted()) == dict.fromkeys(NAMES, 1)


def test_an_unread_message_is_read_by_the_next_engine(store: Engine) -> None:
    bench = Workbench(store, IMAGES)
    bench.tell(FIX)
    bench.restart()
    bench.finish()
    proven(bench)
    with reading(store) as connection:
        assert inbox.unread(connection, 1) == []


def test_a_simulated_build_outlives_the_engine_that_began_it(store: Engine) -> None:
    bench = Workbench(store, IMAGES)
    bench.tell(FIX)
    bench.passes()
    (ref,) = [entry.ref for entry in bench.rebuilds() if entry.ref]
    builder = factory.builder_for(store, bench.settings)
    status = builder.poll([ref, "never-heard-of"])
    assert status[ref].phase in (Phase.RUNNING, Phase.SUCCEEDED), "the dry run goes on"
    assert status["never-heard-of"].phase is Phase.ABORTED
    built = builder.result(ref).manifest
    assert built is not None
    assert {rpm.version for rpm in built.rpms if rpm.source == "openssl"} == {"3.2.2"}
