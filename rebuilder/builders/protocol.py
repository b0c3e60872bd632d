"""What every builder promises."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from rebuilder.domain.build import Order, Status, Submission
from rebuilder.domain.image import ImageBuild


class Builder(Protocol):
    """Runs builds. Calls return soon: they start, ask and stop builds, and never wait for one to end.

    Every call may raise Aborted: trouble of the infrastructure, to be tried again later.
    """

    name: str

    def submit(self, order: Order) -> Submission:
        """Start the build. The caller has asked `find` for the key wherever an earlier submission was possible.

        Raises Refused where the image itself keeps the build from being started.
        """

    def find(self, keys: Sequence[str]) -> Mapping[str, Submission]:
        """The builds known under these keys, running or ended; a key that is absent was never submitted."""

    def poll(self, refs: Sequence[str]) -> Mapping[str, Status]:
        """How these builds stand; one that the builder does not know any more is `aborted`."""

    def result(self, ref: str) -> ImageBuild:
        """The build that succeeded, with its manifest where it can be read."""

    def cancel(self, ref: str) -> None:
        """Stop the build; nothing happens where it has ended."""

    def log(self, ref: str, offset: int = 0) -> Iterator[str]:
        """The text of the log from `offset` characters on, as far as it is written by now."""

    def close(self) -> None:
        """Let go of what the builder holds. Builds that run go on where they can."""
