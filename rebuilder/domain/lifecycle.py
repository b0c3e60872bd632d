"""A rebuild's states: `step(rebuild, event)` gives the next state and what follows from it.

Pure, and the only place where a state may change. An event carries what is known of what happened;
`rebuilder.store.transitions` records it, and carries out every effect.
"""

from __future__ import annotations

from enum import Enum, StrEnum, auto
from typing import ClassVar

from msgspec import Struct
from msgspec.structs import replace


class State(StrEnum):
    """See the table in docs/operators.md; the words are those that operators read."""

    WAITING = "waiting"
    QUEUED = "queued"
    SUBMITTING = "submitting"
    BUILDING = "building"
    TESTING = "testing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    BLOCKED = "blocked"
    UNNEEDED = "unneeded"
    CANCELED = "canceled"


LIVE = frozenset({State.SUBMITTING, State.BUILDING})  # what takes a slot at the builder
UNDER_WAY = LIVE | {State.TESTING}
PENDING = frozenset({State.WAITING, State.QUEUED})
OPEN = UNDER_WAY | PENDING
ENDED = frozenset(State) - OPEN
STOPPED = frozenset({State.FAILED, State.CANCELED, State.BLOCKED})


class Event(Struct, frozen=True):
    """What happened to a rebuild. `reason` is one line for people; `name` is its word in the rebuild's story."""

    name: ClassVar[str]
    reason: str = ""


class ParentsDone(Event, frozen=True):
    """Every parent in the wave is done."""

    name: ClassVar[str] = "parents-done"


class ParentAdded(Event, frozen=True):
    """A further change joined, and with it a parent that must be rebuilt first."""

    name: ClassVar[str] = "parent-added"


class Dispatched(Event, frozen=True):
    """The engine commits to a build; the builder will know it by `key`. `source` is the version of what is built."""

    name: ClassVar[str] = "dispatched"
    key: str = ""
    source: str = ""


class NotSubmitted(Event, frozen=True):
    """The builder was asked, and has no such build: it never arrived there. That is no attempt of the build's."""

    name: ClassVar[str] = "not-submitted"
    again_at: float = 0.0


class Accepted(Event, frozen=True):
    """The builder has the build, under `ref`; `log` is a URL or a path for operators."""

    name: ClassVar[str] = "accepted"
    ref: str = ""
    log: str = ""


class Built(Event, frozen=True):
    """The build succeeded and is recorded as `build_id`."""

    name: ClassVar[str] = "built"
    build_id: int = 0


class Proven(Event, frozen=True):
    """The build succeeded, is recorded as `build_id`, and has what it was made for: now it is tested."""

    name: ClassVar[str] = "proven"
    build_id: int = 0


class Tested(Event, frozen=True):
    """Its test and its gate have passed."""

    name: ClassVar[str] = "tested"


class Failed(Event, frozen=True):
    """The build is bad. `build_id` is what came out, where something did that lacks the fix, or fails its test."""

    name: ClassVar[str] = "failed"
    build_id: int | None = None


class Aborted(Event, frozen=True):
    """The infrastructure ended the build. It may start again at `again_at` (seconds since the epoch)."""

    name: ClassVar[str] = "aborted"
    again_at: float = 0.0


class TimedOut(Aborted, frozen=True):
    """The build ran longer than it may, and may still run at the builder."""


class ParentStopped(Event, frozen=True):
    """A parent in the wave failed or was canceled."""

    name: ClassVar[str] = "parent-stopped"


class ParentResumed(Event, frozen=True):
    """What stopped above is tried again."""

    name: ClassVar[str] = "parent-resumed"


class CausesGone(Event, frozen=True):
    """Nothing is left that the rebuild is for."""

    name: ClassVar[str] = "causes-gone"


class TakenOver(Event, frozen=True):
    """A later rebuild of the image does this one's work too."""

    name: ClassVar[str] = "taken-over"


class Canceled(Event, frozen=True):
    """Somebody stopped it: the operator `who`, or someone whom only the builder knows."""

    name: ClassVar[str] = "canceled"
    who: str = ""


class Retried(Event, frozen=True):
    """It begins anew, under the new `key`: an operator lets it, or its image's source has changed."""

    name: ClassVar[str] = "retried"
    key: str = ""


class Effect(Enum):
    """What follows from a transition beyond the new state. Each is carried out with it, in one transaction."""

    BLOCK_DESCENDANTS = auto()
    RESUME_DESCENDANTS = auto()
    CANCEL_BUILD = auto()  # the builder may have a build that no rebuild waits for any more
    MEASURE_DURATION = auto()
    RELIEVE_LATER_CHILDREN = auto()  # what an earlier rebuild of the image blocked goes on


class RebuildRecord(Struct, frozen=True):
    """A rebuild: where it stands, what its build is, and why it is there. `image` is its name:stream.

    Times are seconds since the epoch. `attempt` counts how often it was dispatched; `spared` dispatches never reached
    the builder, and do not count towards the limit.
    """

    id: int
    wave_id: int
    image_id: int
    image: str
    state: State
    severity: str
    level: int
    attempt: int
    spared: int
    key: str
    ref: str
    log: str
    reason: str
    note: str
    asked_by: str
    created_at: float
    started_at: float | None
    begun_at: float | None
    ended_at: float | None

    @property
    def adopted(self) -> bool:
        """Whether its build is one of an earlier attempt, found again: changes may have joined since that was made."""
        return self.key != key_of_attempt(self.key, self.attempt)


def key_of_attempt(key: str, attempt: int) -> str:
    """A build that the builder had and lost is over: the next one has a key of its own."""
    return f"{key.rsplit('.', 1)[0]}.{attempt}"


class InvalidTransition(Exception):
    """An event that cannot happen in that state: the engine and the database disagree."""


_BLOCK = (Effect.BLOCK_DESCENDANTS,)
_GOOD = (Effect.MEASURE_DURATION, Effect.RELIEVE_LATER_CHILDREN)
_STOP = (Effect.CANCEL_BUILD, Effect.BLOCK_DESCENDANTS)
_TABLE: dict[tuple[State, type[Event]], tuple[State, tuple[Effect, ...]]] = {
    (State.WAITING, ParentsDone): (State.QUEUED, ()),
    (State.WAITING, ParentStopped): (State.BLOCKED, ()),
    (State.WAITING, CausesGone): (State.UNNEEDED, ()),
    (State.QUEUED, ParentAdded): (State.WAITING, ()),
    (State.QUEUED, ParentStopped): (State.BLOCKED, ()),
    (State.QUEUED, CausesGone): (State.UNNEEDED, ()),
    (State.QUEUED, Dispatched): (State.SUBMITTING, ()),
    (State.SUBMITTING, Accepted): (State.BUILDING, ()),
    (State.SUBMITTING, NotSubmitted): (State.QUEUED, ()),
    (State.SUBMITTING, Failed): (State.FAILED, _BLOCK),
    (State.BUILDING, Built): (State.SUCCEEDED, _GOOD),
    (State.BUILDING, Proven): (State.TESTING, ()),
    (State.BUILDING, Failed): (State.FAILED, _BLOCK),
    (State.BUILDING, TakenOver): (State.UNNEEDED, (Effect.CANCEL_BUILD,)),
    (State.TESTING, Tested): (State.SUCCEEDED, _GOOD),
    (State.TESTING, Failed): (State.FAILED, _BLOCK),
    (State.TESTING, Canceled): (State.CANCELED, _BLOCK),
    (State.BLOCKED, ParentResumed): (State.WAITING, ()),
    (State.FAILED, Retried): (State.WAITING, (Effect.RESUME_DESCENDANTS,)),
    (State.CANCELED, Retried): (State.WAITING, (Effect.RESUME_DESCENDANTS,)),
    (State.WAITING, Canceled): (State.CANCELED, _BLOCK),
    (State.QUEUED, Canceled): (State.CANCELED, _BLOCK),
    (State.BLOCKED, Canceled): (State.CANCELED, _BLOCK),
    (State.SUBMITTING, Canceled): (State.CANCELED, _STOP),
    (State.BUILDING, Canceled): (State.CANCELED, _STOP),
}


def step(rebuild: RebuildRecord, event: Event, max_attempts: int) -> tuple[RebuildRecord, tuple[Effect, ...]]:
    """The next state and its effects. Raises InvalidTransition when the event cannot happen in this state.

    An aborted build goes back to the queue, until `max_attempts` is reached: then it has failed.
    """
    if isinstance(event, Aborted) and rebuild.state is State.BUILDING:
        return _aborted(rebuild, event, max_attempts)
    transition = _TABLE.get((rebuild.state, type(event)))
    if transition is None:
        raise InvalidTransition(f"{event.name} cannot happen to a rebuild that is {rebuild.state}")
    state, effects = transition
    match event:
        case Dispatched():
            return replace(rebuild, state=state, attempt=rebuild.attempt + 1), effects
        case NotSubmitted():
            return replace(rebuild, state=state, spared=rebuild.spared + 1), effects
        case Retried():
            return replace(rebuild, state=state, attempt=0, spared=0), effects
        case _:
            return replace(rebuild, state=state), effects


def _aborted(
    rebuild: RebuildRecord, event: Aborted, max_attempts: int
) -> tuple[RebuildRecord, tuple[Effect, ...]]:
    effects = (Effect.CANCEL_BUILD,) if isinstance(event, TimedOut) else ()
    if exhausted(rebuild, max_attempts):
        return replace(rebuild, state=State.FAILED), (*effects, Effect.BLOCK_DESCENDANTS)
    return replace(rebuild, state=State.QUEUED), effects


def exhausted(rebuild: RebuildRecord, max_attempts: int) -> bool:
    """Whether this is the last attempt that it may have."""
    return rebuild.attempt - rebuild.spared >= max_attempts
