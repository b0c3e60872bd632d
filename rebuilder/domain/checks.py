"""What has to say that a proven build is good before any name moves to it."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

FAILED = "tests failed"  # what the reason of a rebuild begins with whose build is not good


class CheckKind(StrEnum):
    """`test` is run by us in the new image; `gate` is the answer of somebody else."""

    TEST = "test"
    GATE = "gate"


class ImageTest(Struct, frozen=True):
    """A command that is run in the new image, or the path of a script; it may take so many `seconds`."""

    command: tuple[str, ...] = ()
    script: str = ""
    seconds: float = 1800.0
    network: bool = False


class Checks(Struct, frozen=True):
    """What is asked of the builds of an image."""

    test: ImageTest | None = None
    gate: bool = False

    @property
    def kinds(self) -> tuple[CheckKind, ...]:
        """The kinds of answers that are waited for; none where a proven build is good."""
        enabled = {CheckKind.TEST: self.test is not None, CheckKind.GATE: self.gate}
        return tuple(kind for kind, on in enabled.items() if on)


class TestRequest(Struct, frozen=True):
    """A test of the build `ident` of `image`, which was made under `key`: the test is known by that, too."""

    __test__ = False  # it is nothing that pytest should collect

    key: str
    image: str
    ident: str
    test: ImageTest
