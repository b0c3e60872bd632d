"""What can be announced on the bus."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from rebuilder.domain.lifecycle import State

LISTED = 100  # images, changes and the like that one message names; more are only counted


class Notice(StrEnum):
    """The words that the topics end in, after `rebuilder.`, and by which the settings name them."""

    WAVE_PLANNED = "wave.planned"
    WAVE_FINISHED = "wave.finished"
    IMAGE_QUEUED = "image.queued"
    IMAGE_BUILDING = "image.building"
    IMAGE_TESTING = "image.testing"
    IMAGE_SUCCEEDED = "image.succeeded"
    IMAGE_FAILED = "image.failed"
    IMAGE_BLOCKED = "image.blocked"
    IMAGE_CANCELED = "image.canceled"
    IMAGE_UNNEEDED = "image.unneeded"
    IMAGE_PUSHED = "image.pushed"
    IMAGE_ROLLED_BACK = "image.rolled-back"


# To wait for a parent, or for the builder's answer, is nothing that happens to an image.
OF_STATE: dict[State, Notice] = {
    state: Notice(f"image.{state}") for state in State if state not in (State.WAITING, State.SUBMITTING)
}


class StateFacts(Struct, frozen=True, kw_only=True):
    """What was so when a rebuild came into a state, and may be different when that is published.

    `started` is in seconds since the epoch; `build` the id of the recorded build; `who` the operator who did it.
    `names` are those that the build got in registries.
    """

    attempt: int
    started: float | None = None
    reason: str = ""
    log: str = ""
    build: int | None = None
    who: str = ""
    names: tuple[str, ...] = ()


class RollbackFacts(Struct, frozen=True, kw_only=True):
    """What an operator (`who`) took back: the ids of the recorded builds, and the names that go back in registries.

    `built_on_bad` are the images whose current builds are made of the bad one still.
    """

    bad: int
    good: int
    who: str
    reason: str
    names: tuple[str, ...] = ()
    built_on_bad: tuple[str, ...] = ()


class StoppedImage(Struct, frozen=True):
    """An image of a finished wave that was not rebuilt."""

    image: str
    state: str
    reason: str


class WaveFacts(Struct, frozen=True, kw_only=True):
    """What was so when something happened to a wave. `counts` has the rebuilds in each state, once it is finished."""

    state: str
    who: str = ""
    counts: dict[str, int] | None = None
    stopped: tuple[StoppedImage, ...] | None = None
