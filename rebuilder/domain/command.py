"""What operators command, whether at a terminal or over HTTP."""

from __future__ import annotations

from msgspec import Struct

OF_IMAGES = ("retry", "cancel", "rebuild", "hold", "release", "promote", "gate", "rollback")
COMMANDS = (*OF_IMAGES, "approve", "pause", "resume")


class Command(Struct, frozen=True):
    """One of COMMANDS. `target` is an image (name:stream) or a wave's number.

    `until` is when a hold or a pause ends by itself, in seconds since the epoch; None for never. With `gate`, `passed`
    is the answer, about the `build` of that NVR, image id or digest; "" is the one that waits for it. With `rollback`,
    `build` is the one to go back to; "" is the last one that can be pulled.
    """

    verb: str
    target: str
    who: str
    reason: str = ""
    until: float | None = None
    with_descendants: bool = False
    passed: bool = False
    build: str = ""

    @property
    def only_image(self) -> str | None:
        """The one image that it is about; None where it is about a wave, about descendants too, or about the engine."""
        alone = self.verb in OF_IMAGES and not self.with_descendants and wave_of(self.target) is None
        return self.target if alone else None


def wave_of(target: str) -> int | None:
    """The number of the wave that is named so; None where that is not a number."""
    return int(target) if target.isascii() and target.isdigit() else None
