"""A rebuild's states and steps."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebuilder.domain.lifecycle import (
    ENDED,
    LIVE,
    OPEN,
    PENDING,
    STOPPED,
    Effect,
    Event,
    Impossible,
    Rebuild,
    State,
    step,
)

S, E = State, Event

# Written out once more, on purpose: a step that comes or goes by accident must fail here.
POSSIBLE = {
    S.WAITING: {
        E.PARENTS_DONE: S.QUEUED, E.PARENT_STOPPED: S.BLOCKED, E.CAUSES_GONE: S.UNNEEDED, E.CANCELED: S.CANCELED,
    },
    S.QUEUED: {
        E.DISPATCHED: S.SUBMITTING, E.PARENT_ADDED: S.WAITING, E.PARENT_STOPPED: S.BLOCKED,
        E.CAUSES_GONE: S.UNNEEDED, E.CANCELED: S.CANCELED,
    },
    S.SUBMITTING: {E.ACCEPTED: S.BUILDING, E.ABORTED: S.QUEUED, E.FAILED: S.FAILED, E.CANCELED: S.CANCELED},
    S.BUILDING: {
        E.BUILT: S.SUCCEEDED, E.ABORTED: S.QUEUED, E.FAILED: S.FAILED, E.CANCELED: S.CANCELED,
        E.TAKEN_OVER: S.UNNEEDED,
    },
    S.BLOCKED: {E.PARENT_RESUMED: S.WAITING, E.CANCELED: S.CANCELED},
    S.FAILED: {E.RETRIED: S.WAITING},
    S.CANCELED: {E.RETRIED: S.WAITING},
    S.SUCCEEDED: {},
    S.UNNEEDED: {},
}  # fmt: skip


@pytest.mark.parametrize(("state", "event"), product(State, Event))
def test_every_event_in_every_state_is_a_step_or_impossible(state: State, event: Event) -> None:
    expected = POSSIBLE[state].get(event)
    if expected is None:
        with pytest.raises(Impossible, match=f"{event} cannot happen to a rebuild that is {state}"):
            step(Rebuild(state), event)
    else:
        assert step(Rebuild(state), event)[0].state is expected


def test_every_state_is_open_or_ended_and_what_is_open_is_pending_or_live() -> None:
    assert frozenset(State) == OPEN | ENDED
    assert not OPEN & ENDED
    assert PENDING | LIVE == OPEN
    assert STOPPED < ENDED


def test_only_dispatching_counts_as_an_attempt_and_a_retry_counts_anew() -> None:
    assert step(Rebuild(S.QUEUED, 1), E.DISPATCHED)[0].attempt == 2
    assert step(Rebuild(S.SUBMITTING, 1), E.ACCEPTED)[0].attempt == 1
    assert step(Rebuild(S.FAILED, 3), E.RETRIED)[0].attempt == 0


@pytest.mark.parametrize("state", sorted(LIVE))
def test_an_abort_pauses_until_the_attempts_are_used_up(state: State) -> None:
    assert step(Rebuild(state, 1, 2), E.ABORTED) == (Rebuild(S.QUEUED, 1, 2), (Effect.PAUSE,))
    assert step(Rebuild(state, 2, 2), E.ABORTED) == (Rebuild(S.FAILED, 2, 2), (Effect.BLOCK_DESCENDANTS,))


@pytest.mark.parametrize("state", sorted(State))
def test_what_stops_blocks_its_descendants_and_what_succeeds_releases_its_children(state: State) -> None:
    for event in POSSIBLE[state]:
        after, effects = step(Rebuild(state, 3, 3), event)
        if after.state in (S.FAILED, S.CANCELED):
            assert Effect.BLOCK_DESCENDANTS in effects
        if after.state in (S.SUCCEEDED, S.UNNEEDED):
            assert effects == (Effect.RELEASE_CHILDREN,)
        if event is E.RETRIED:
            assert effects == (Effect.RESUME_DESCENDANTS,)
        assert (Effect.CANCEL_BUILD in effects) == (event is E.CANCELED and state in LIVE)
        assert (Effect.SUBMIT in effects) == (event is E.DISPATCHED)


@given(st.integers(1, 4), st.lists(st.sampled_from(Event), max_size=60))
def test_on_every_walk_a_build_is_dispatched_before_it_ends_and_never_too_often(
    max_attempts: int, events: list[Event]
) -> None:
    rebuild, since_retry = Rebuild(S.WAITING, 0, max_attempts), 0
    for event in events:
        try:
            rebuild, effects = step(rebuild, event)
        except Impossible:
            continue
        since_retry = 0 if event is E.RETRIED else since_retry + (Effect.SUBMIT in effects)
        assert rebuild.attempt == since_retry <= max_attempts
        if rebuild.state in LIVE | {S.SUCCEEDED, S.FAILED}:
            assert since_retry >= 1
