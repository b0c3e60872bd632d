"""What a harness can do with the builds of its builder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum, auto
from pathlib import Path
from typing import ClassVar

from rebuilder.builders.protocol import Builder
from rebuilder.domain.build import BuildRequest
from rebuilder.domain.image import ImageBuild


class Power(StrEnum):
    """What can happen to some builders only. A promise about it is held against those alone."""

    SURVIVES = auto()  # builds outlive the builder's process
    STOPPED_BY_OTHERS = auto()  # somebody else can cancel a build at the service
    UNREACHABLE = auto()  # there is a service that can be away
    LOST_REPLY = auto()  # a submission can arrive without the answer coming back
    PINS = auto()  # the result says which parents' builds it was made on
    LOGS = auto()  # the log can be read while the build runs
    MANIFEST = auto()  # the result says which RPMs are in it


class Harness(ABC):
    """A builder, and the hand that moves its builds. They run until the test says how they end.

    `builder` is the one to be tested; `restart` replaces it, as a new engine would.
    """

    name: ClassVar[str]
    powers: ClassVar[frozenset[Power]]
    unknown: ClassVar[str] = "image-f42-never"  # a ref that no build has
    builder: Builder

    @classmethod
    @contextmanager
    @abstractmethod
    def world(cls, folder: Path) -> Iterator[Harness]:
        """Everything that the builder needs, for a module's tests; skips or fails them where it is missing."""

    @abstractmethod
    def restart(self) -> None:
        """A new builder object: all that the old one kept in memory is lost."""

    @abstractmethod
    def order(self, key: str) -> BuildRequest:
        """A good order, never the same image twice, on `parent`."""

    @property
    @abstractmethod
    def parent(self) -> ImageBuild:
        """A finished build that every order is built on."""

    @abstractmethod
    def made(self, key: str) -> int:
        """How many builds the service was ever made to start for this key."""

    @abstractmethod
    def say(self, ref: str, line: str) -> None:
        """The build that runs writes a line to its log."""

    @abstractmethod
    def succeed(self, ref: str) -> None:
        """Let the build end well. It may take a moment until the builder sees it."""

    @abstractmethod
    def fail(self, ref: str) -> None:
        """Let the build end badly, by its own fault."""

    @abstractmethod
    def vanish(self, ref: str) -> None:
        """The build is gone, without an end of its own."""

    def stop_by_others(self, ref: str) -> None:
        """Somebody else cancels the build. Only with Power.STOPPED_BY_OTHERS."""
        raise NotImplementedError

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        """The service is away. Only with Power.UNREACHABLE."""
        raise NotImplementedError
        yield  # it is a context manager all the same

    @contextmanager
    def lost_reply(self) -> Iterator[None]:
        """Whatever is submitted arrives, its answer does not. Only with Power.LOST_REPLY."""
        raise NotImplementedError
        yield  # it is a context manager all the same
