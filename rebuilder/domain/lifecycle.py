"""A rebuild's states: `step(state, event)` gives the next state and what must be done about it.

Pure, and the only place where a state may change. The engine feeds in events and carries out the effects.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class State(StrEnum):
    """See the README's table; the words are those that operators read."""

    WAITING = "waiting"
    QUEUED = "queued"
    SUBMITTING = "submitting"
    BUILDING = "building"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    BLOCKED = "blocked"
    UNNEEDED = "unneeded"
    CANCELED = "canceled"


LIVE = frozenset({State.SUBMITTING, State.BUILDING})
PENDING = frozenset({State.WAITING, State.QUEUED})
OPEN = LIVE | PENDING
ENDED = frozenset(State) - OPEN
STOPPED = frozenset({State.FAILED, State.CANCELED, State.BLOCKED})


class Event(StrEnum):
    """What can happen to a rebuild."""

    PARENTS_DONE = "parents-done"
    PARENT_ADDED = "parent-added"
    DISPATCHED = "dispatched"
    ACCEPTED = "accepted"
    BUILT = "built"
    FAILED = "failed"
    ABORTED = "aborted"
    PARENT_STOPPED = "parent-stopped"
    PARENT_RESUMED = "parent-resumed"
    CAUSES_GONE = "causes-gone"
    TAKEN_OVER = "taken-over"
    CANCELED = "canceled"
    RETRIED = "retried"


class Effect(StrEnum):
    """What a transition asks for beyond the new state."""

    SUBMIT = "submit"
    CANCEL_BUILD = "cancel-build"
    PAUSE = "pause"
    RELEASE_CHILDREN = "release-children"
    BLOCK_DESCENDANTS = "block-descendants"
    RESUME_DESCENDANTS = "resume-descendants"


@dataclass(frozen=True, slots=True)
class Rebuild:
    """Where a rebuild stands: its state, how often it was submitted, and the limit on that."""

    state: State
    attempt: int = 0
    max_attempts: int = 3


class Impossible(Exception):
    """An event that cannot happen in that state: the engine and the database disagree."""


_TABLE: dict[tuple[State, Event], tuple[State, tuple[Effect, ...]]] = {
    (State.WAITING, Event.PARENTS_DONE): (State.QUEUED, ()),
    (State.WAITING, Event.PARENT_STOPPED): (State.BLOCKED, ()),
    (State.WAITING, Event.CAUSES_GONE): (State.UNNEEDED, (Effect.RELEASE_CHILDREN,)),
    (State.QUEUED, Event.PARENT_ADDED): (State.WAITING, ()),
    (State.QUEUED, Event.PARENT_STOPPED): (State.BLOCKED, ()),
    (State.QUEUED, Event.CAUSES_GONE): (State.UNNEEDED, (Effect.RELEASE_CHILDREN,)),
    (State.QUEUED, Event.DISPATCHED): (State.SUBMITTING, (Effect.SUBMIT,)),
    (State.SUBMITTING, Event.ACCEPTED): (State.BUILDING, ()),
    (State.SUBMITTING, Event.FAILED): (State.FAILED, (Effect.BLOCK_DESCENDANTS,)),
    (State.BUILDING, Event.BUILT): (State.SUCCEEDED, (Effect.RELEASE_CHILDREN,)),
    (State.BUILDING, Event.FAILED): (State.FAILED, (Effect.BLOCK_DESCENDANTS,)),
    (State.BUILDING, Event.TAKEN_OVER): (State.UNNEEDED, (Effect.RELEASE_CHILDREN,)),
    (State.BLOCKED, Event.PARENT_RESUMED): (State.WAITING, ()),
    (State.FAILED, Event.RETRIED): (State.WAITING, (Effect.RESUME_DESCENDANTS,)),
    (State.CANCELED, Event.RETRIED): (State.WAITING, (Effect.RESUME_DESCENDANTS,)),
    (State.WAITING, Event.CANCELED): (State.CANCELED, (Effect.BLOCK_DESCENDANTS,)),
    (State.QUEUED, Event.CANCELED): (State.CANCELED, (Effect.BLOCK_DESCENDANTS,)),
    (State.BLOCKED, Event.CANCELED): (State.CANCELED, (Effect.BLOCK_DESCENDANTS,)),
    (State.SUBMITTING, Event.CANCELED): (State.CANCELED, (Effect.CANCEL_BUILD, Effect.BLOCK_DESCENDANTS)),
    (State.BUILDING, Event.CANCELED): (State.CANCELED, (Effect.CANCEL_BUILD, Effect.BLOCK_DESCENDANTS)),
}


def step(rebuild: Rebuild, event: Event) -> tuple[Rebuild, tuple[Effect, ...]]:
    """The next state and its effects. Raises Impossible when the event cannot happen in this state.

    An aborted build goes back to the queue after a pause, until `max_attempts` is reached: then it has failed.
    """
    if event is Event.ABORTED and rebuild.state in LIVE:
        if rebuild.attempt < rebuild.max_attempts:
            return replace(rebuild, state=State.QUEUED), (Effect.PAUSE,)
        return replace(rebuild, state=State.FAILED), (Effect.BLOCK_DESCENDANTS,)
    found = _TABLE.get((rebuild.state, event))
    if found is None:
        raise Impossible(f"{event} cannot happen to a rebuild that is {rebuild.state}")
    state, effects = found
    if event is Event.DISPATCHED:
        return replace(rebuild, state=state, attempt=rebuild.attempt + 1), effects
    if event is Event.RETRIED:
        return replace(rebuild, state=state, attempt=0), effects
    return replace(rebuild, state=state), effects
