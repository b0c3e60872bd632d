"""What is asked of a builder, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from rebuilder.domain.change import Change, Severity
from rebuilder.domain.image import Image, ImageBuild, ParentKind


class Phase(StrEnum):
    """How a build stands at its builder. `aborted` is trouble of the infrastructure, never the build's fault."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ABORTED = "aborted"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True)
class Order:
    """One build to be made. `key` names it for ever: submitting it twice must be noticed by asking for the key.

    `parents` are the builds to build on, for the image's parents in the inventory that have one.
    `current` is the image's build so far; `causes` say why it is rebuilt.
    """

    key: str
    image: Image
    parents: tuple[ImageBuild, ...] = ()
    causes: tuple[Change, ...] = ()
    current: ImageBuild | None = None
    severity: Severity = Severity.UNSPECIFIED

    @property
    def base(self) -> ImageBuild | None:
        """The build that the image's base is to be, where that is an image of the inventory which has one."""
        bases = {parent.image for parent in self.image.parents if parent.kind is ParentKind.BASE and parent.image}
        return next((build for build in self.parents if build.image in bases), None)


@dataclass(frozen=True, slots=True)
class Submission:
    """The builder has the build, under `ref`. `log` is a URL or a path for operators."""

    ref: str
    log: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """A build's phase, with the reason where it did not succeed, in one line."""

    phase: Phase
    reason: str = ""


class Aborted(Exception):
    """Infrastructure trouble: the request may or may not have arrived, and is worth trying again."""


class Refused(Exception):
    """The builder will never take this order as it is, for a reason that lies in the image: one line says which."""
