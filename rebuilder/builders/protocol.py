"""What every builder promises."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from rebuilder.domain.build import BuildRequest, Status, Submission
from rebuilder.domain.checks import TestRequest
from rebuilder.domain.image import ImageBuild


class Builder(Protocol):
    """Runs builds. No call waits for a build to end: calls start, ask and stop builds.

    The engine makes calls from several threads at a time, and gives up waiting for one after its time limit: a builder
    locks what it shares between calls, never for the length of a request, and bounds its requests (sockets, processes)
    so that a call that was given up ends some day.

    Every call may raise InfrastructureError, and SiteError where the builder refuses everything until it is mended.
    """

    name: str

    def submit(self, order: BuildRequest) -> Submission:
        """Start the build. The caller has asked `find` for the key wherever an earlier submission was possible.

        Raises BuildRejected where the image itself keeps the build from being started.
        """

    def find(self, keys: Sequence[str]) -> Mapping[str, Submission]:
        """The builds known under these keys, running or ended; a key that is absent was never submitted."""

    def poll(self, refs: Sequence[str]) -> Mapping[str, Status]:
        """How these builds stand; one that the builder does not know any more is `aborted`.

        A build whose state cannot be read now is left out: it is asked for again, and holds up no other.
        """

    def result(self, ref: str) -> ImageBuild:
        """The build that succeeded, with its manifest where it can be read.

        Raises PartialResult with what is known where the rest should be there and cannot be read.
        """

    def cancel(self, ref: str) -> None:
        """Stop the build; nothing happens where it has ended, or is not known."""

    def log(self, ref: str, offset: int = 0) -> Iterator[str]:
        """The text of the log from `offset` characters on, as far as it is written by now."""

    def close(self) -> None:
        """Let go of what the builder holds. Builds that run go on where they can."""


@runtime_checkable
class Tidying(Protocol):
    """A builder that keeps builds that have ended until they are removed."""

    def tidy(self, settled: Callable[[Collection[str]], Collection[str]]) -> int:
        """Mark some of the builds whose logs are kept, and remove some that ended long ago; how many of both.

        `settled` tells which of these keys are of rebuilds that are over: no other system's build is removed, and none
        whose result is still to be read. Raises InfrastructureError.
        """

    @property
    def tidying(self) -> bool:
        """Whether something of a build that ended a moment ago is still being read."""


@runtime_checkable
class Promoting(Protocol):
    """A builder whose builds have no name that others use until they are proven."""

    def public_name(self, image: str) -> str:
        """The name of `name:stream` that others use."""

    def promote(self, image: str, key: str, ident: str) -> None:
        """Move that name to this build, in one step; nothing happens where it is there already.

        Raises InfrastructureError, and BuildRejected where the build is gone.
        """


@runtime_checkable
class Uploading(Protocol):
    """A builder whose builds are on this machine until somebody pushes them."""

    def upload(self, ident: str, spec: str, auth_file: Path | None, seconds: float) -> str:
        """Push the build under a name, within so many seconds; the digest that it has there.

        Raises InfrastructureError, RegistryError, and BuildRejected where the build is gone.
        """

@runtime_checkable
class Restoring(Protocol):
    """A builder whose builds are on this machine for a while, and can be brought back from where they were pushed."""

    def keeps(self, ident: str) -> bool:
        """Whether the build is there still. Raises InfrastructureError."""

    def fetch(self, ident: str, at: str, auth_file: Path | None, seconds: float) -> None:
        """Bring a build back that is gone here, from where it was pushed, a pull spec by digest.

        Raises InfrastructureError, RegistryError, and BuildRejected where that is another image.
        """


@runtime_checkable
class Testing(Protocol):
    """A builder that runs commands in the images that it has built."""

    def test(self, request: TestRequest, *, again: bool = False) -> Status:
        """How the test stands, which is started where it never was, or, with `again`, where it ended as `aborted`.

        It runs on when the engine ends, and is found by its key. Raises InfrastructureError.
        """

    def stop_test(self, key: str, fault: str = "") -> None:
        """Stop the test and take away what it left; nothing happens where there is none. Raises InfrastructureError.

        With a `fault` of the test's own, that is why it has failed from now on.
        """

    def test_log(self, key: str, offset: int = 0) -> Iterator[str]:
        """What the test printed, from `offset` characters on."""


@runtime_checkable
class LogKeeping(Protocol):
    """A builder that keeps logs here, which may come a little after the end of their builds."""

    def log_is_whole(self, ref: str) -> bool:
        """Whether nothing will be added to the log any more."""
