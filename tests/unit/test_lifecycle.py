"""A rebuild's states and steps."""

from __future__ import annotations

import ast
import inspect
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebuilder.domain import lifecycle as e
from rebuilder.domain.lifecycle import (
    ENDED,
    LIVE,
    OPEN,
    PENDING,
    STOPPED,
    UNDER_WAY,
    Effect,
    Event,
    InvalidTransition,
    RebuildRecord,
    State,
    step,
)
from rebuilder.store import transitions

S = State
EVENTS: tuple[type[Event], ...] = (
    e.ParentsDone, e.ParentAdded, e.Dispatched, e.NotSubmitted, e.Accepted, e.Built, e.Failed, e.Aborted, e.TimedOut,
    e.ParentStopped, e.ParentResumed, e.CausesGone, e.TakenOver, e.Canceled, e.Retried, e.Proven, e.Tested,
)  # fmt: skip

# Written out once more, on purpose: a step that comes or goes by accident must fail here.
POSSIBLE: dict[State, dict[type[Event], State]] = {
    S.WAITING: {
        e.ParentsDone: S.QUEUED, e.ParentStopped: S.BLOCKED, e.CausesGone: S.UNNEEDED, e.Canceled: S.CANCELED,
    },
    S.QUEUED: {
        e.Dispatched: S.SUBMITTING, e.ParentAdded: S.WAITING, e.ParentStopped: S.BLOCKED,
        e.CausesGone: S.UNNEEDED, e.Canceled: S.CANCELED,
    },
    S.SUBMITTING: {e.Accepted: S.BUILDING, e.NotSubmitted: S.QUEUED, e.Failed: S.FAILED, e.Canceled: S.CANCELED},
    S.BUILDING: {
        e.Built: S.SUCCEEDED, e.Aborted: S.QUEUED, e.TimedOut: S.QUEUED, e.Failed: S.FAILED, e.Canceled: S.CANCELED,
        e.TakenOver: S.UNNEEDED, e.Proven: S.TESTING,
    },
    S.TESTING: {e.Tested: S.SUCCEEDED, e.Failed: S.FAILED, e.Canceled: S.CANCELED},
    S.BLOCKED: {e.ParentResumed: S.WAITING, e.Canceled: S.CANCELED},
    S.FAILED: {e.Retried: S.WAITING},
    S.CANCELED: {e.Retried: S.WAITING},
    S.SUCCEEDED: {},
    S.UNNEEDED: {},
}  # fmt: skip


MOST = 3  # attempts


def at(state: State, attempt: int = 0, spared: int = 0) -> RebuildRecord:
    """A rebuild that is in that state, after so many dispatches."""
    return RebuildRecord(1, 1, 1, "app:f42", state, "low", 0, attempt, spared, "app-f42-1.1", "", "", "", "", "", 0.0,
                         None, None, None)  # fmt: skip


def test_every_kind_of_event_is_looked_at_here_and_has_a_word_of_its_own() -> None:
    def below(kind: type[Event]) -> set[type[Event]]:
        return {kind} | {one for child in kind.__subclasses__() for one in below(child)}

    assert {kind.__name__ for kind in below(Event) - {Event}} - {"Event"} == {kind.__name__ for kind in EVENTS}
    words = [kind.name for kind in EVENTS if kind is not e.TimedOut]
    assert len(set(words)) == len(words)


@pytest.mark.parametrize(("state", "kind"), product(State, EVENTS))
def test_every_event_in_every_state_is_a_step_or_impossible(state: State, kind: type[Event]) -> None:
    expected = POSSIBLE[state].get(kind)
    if expected is None:
        with pytest.raises(InvalidTransition, match=f"{kind.name} cannot happen to a rebuild that is {state}"):
            step(at(state), kind(), MOST)
    else:
        assert step(at(state), kind(), MOST)[0].state is expected


def test_every_state_is_open_or_ended_and_what_is_open_is_pending_or_live() -> None:
    assert frozenset(State) == OPEN | ENDED
    assert not OPEN & ENDED
    assert PENDING | UNDER_WAY == OPEN
    assert {S.TESTING} == UNDER_WAY - LIVE, "a test takes no slot at the builder"
    assert STOPPED < ENDED


def test_only_dispatching_counts_as_an_attempt_and_a_retry_counts_anew() -> None:
    assert step(at(S.QUEUED, 1), e.Dispatched(), MOST)[0].attempt == 2
    assert step(at(S.SUBMITTING, 1), e.Accepted(), MOST)[0].attempt == 1
    assert step(at(S.FAILED, 3, spared=1), e.Retried(), MOST)[0] == at(S.WAITING, 0)


@pytest.mark.parametrize("kind", [e.Aborted, e.TimedOut])
def test_an_abort_is_repeated_until_the_attempts_are_used_up(kind: type[Event]) -> None:
    assert step(at(S.BUILDING, 1), kind(), 2)[0] == at(S.QUEUED, 1)
    after, effects = step(at(S.BUILDING, 2), kind(), 2)
    assert (after, Effect.BLOCK_DESCENDANTS in effects) == (at(S.FAILED, 2), True)


def test_a_submission_that_never_arrived_is_no_attempt() -> None:
    lost, _ = step(at(S.SUBMITTING, 1), e.NotSubmitted(), 2)
    assert lost == at(S.QUEUED, 1, spared=1)
    assert step(at(S.BUILDING, 2, spared=1), e.Aborted(), 2)[0].state is S.QUEUED
    assert step(at(S.BUILDING, 3, spared=1), e.Aborted(), 2)[0].state is S.FAILED


MAY_STILL_RUN = (e.Canceled, e.TimedOut, e.TakenOver)


@pytest.mark.parametrize("state", sorted(State))
def test_what_stops_blocks_its_descendants_and_what_may_still_run_is_canceled_at_the_builder(state: State) -> None:
    for kind in POSSIBLE[state]:
        after, effects = step(at(state, 3), kind(), 3)
        assert (Effect.BLOCK_DESCENDANTS in effects) == (after.state in (S.FAILED, S.CANCELED))
        assert (Effect.CANCEL_BUILD in effects) == (state in LIVE and kind in MAY_STILL_RUN)
        assert (Effect.RESUME_DESCENDANTS in effects) == (kind is e.Retried)
        good = after.state is S.SUCCEEDED
        assert (Effect.MEASURE_DURATION in effects) == (Effect.RELIEVE_LATER_CHILDREN in effects) == good


def test_every_effect_follows_from_a_step_and_is_carried_out() -> None:
    caused = {effect for state in State for kind in POSSIBLE[state] for effect in step(at(state, 3), kind(), 3)[1]}
    interpreter = ast.walk(ast.parse(inspect.getsource(transitions)))
    carried_out = {ast.unparse(node.value) for node in interpreter if isinstance(node, ast.MatchValue)}
    assert caused == set(Effect)
    assert {str(effect) for effect in Effect} <= carried_out


@given(st.integers(1, 4), st.lists(st.sampled_from(EVENTS), max_size=60))
def test_on_every_walk_a_build_is_dispatched_before_it_ends_and_never_too_often(
    max_attempts: int, kinds: list[type[Event]]
) -> None:
    rebuild, since_retry = at(S.WAITING), 0
    for kind in kinds:
        try:
            rebuild, _ = step(rebuild, kind(), max_attempts)
        except InvalidTransition:
            continue
        since_retry = 0 if kind is e.Retried else since_retry + (kind is e.Dispatched)
        assert rebuild.attempt == since_retry
        assert rebuild.attempt - rebuild.spared <= max_attempts
        if rebuild.state in LIVE | {S.SUCCEEDED, S.FAILED}:
            assert since_retry >= 1
