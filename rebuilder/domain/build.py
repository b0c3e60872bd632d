"""What is asked of a builder, and what it answers."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from rebuilder.domain.change import Change, Severity
from rebuilder.domain.errors import InfrastructureError
from rebuilder.domain.image import Image, ImageBuild, ParentKind, PinnedParent


class Phase(StrEnum):
    """How a build stands at its builder.

    `waiting` is before it begins: the builder has it, and no time of the build has passed (Koji's FREE tasks, a pending
    PipelineRun). `aborted` is an infrastructure error, never the build's fault.
    """

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ABORTED = "aborted"
    CANCELED = "canceled"


class BuildRequest(Struct, frozen=True):
    """One build to be made. `key` names it for ever: submitting it twice must be noticed by asking for the key.

    `parents` are the builds to build on, for the image's parents in the inventory that have one, and `externals` the
    digests of those outside it that are known.
    `current` is the image's build so far; `causes` say why it is rebuilt, in which `wave`.
    """

    key: str
    image: Image
    parents: tuple[ImageBuild, ...] = ()
    causes: tuple[Change, ...] = ()
    current: ImageBuild | None = None
    severity: Severity = Severity.UNSPECIFIED
    externals: tuple[PinnedParent, ...] = ()
    wave: int = 0

    @property
    def base(self) -> ImageBuild | None:
        """The build that the image's base is to be, where that is an image of the inventory which has one."""
        bases = {parent.image for parent in self.image.parents if parent.kind is ParentKind.BASE and parent.image}
        return next((build for build in self.parents if build.image in bases), None)


class Submission(Struct, frozen=True):
    """The builder has the build, under `ref`. `log` is a URL or a path for operators."""

    ref: str
    log: str = ""


class Status(Struct, frozen=True):
    """A build's phase, with the reason where it did not succeed: one line, or the last few of what failed.

    `begun` is when the builder began with it, in seconds since the epoch by the builder's clock; None where the builder
    does not say: then it began when it was first seen running.
    """

    phase: Phase
    reason: str = ""
    begun: float | None = None


class SiteError(InfrastructureError):
    """The builder refuses every image until somebody mends the site: a permission, a template, a configuration.

    No image fails for it. The engine stops submitting for a while, says so, and tries again.
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason, arrived=False)


class PartialResult(InfrastructureError):
    """The build succeeded, and not all of it can be read: `build` is what can. It is asked for again, a few times."""

    def __init__(self, reason: str, build: ImageBuild) -> None:
        super().__init__(reason)
        self.build = build


class BuildRejected(Exception):
    """The builder will never take this request as it is, for a reason that lies in the image: one line says which."""
