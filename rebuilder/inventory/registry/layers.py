"""Which image is built on which, by their layers: exactly, whoever built them.

Pure. An image whose layers begin with all layers of another is built on it; of several, on the nearest.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from rebuilder.domain.image_name import stream_of


class Layered(Struct, frozen=True):
    """A build of an image: `layers` from the lowest up, and `steps`, how long the history is that made them."""

    image: str
    ident: str
    layers: tuple[str, ...]
    steps: int

    @property
    def stream(self) -> str:
        """The stream of its image."""
        return stream_of(self.image)


class Ancestors:
    """The builds that others may be built on: current ones, and earlier ones on which stale images still stand."""

    def __init__(self, builds: Iterable[Layered]) -> None:
        self._by_layers: dict[tuple[str, ...], list[Layered]] = {}
        for build in builds:
            if build.layers:
                self._by_layers.setdefault(build.layers, []).append(build)

    def nearest(self, build: Layered) -> Layered | None:
        """The build on which this one stands directly; None where none of these is under it.

        One with just the same layers is under it where its history is shorter: an image may add but an ENV. Of several
        that are alike, as under two tags, that of the same stream is taken.
        """
        for end in range(len(build.layers), 0, -1):
            alike = self._by_layers.get(build.layers[:end], ())
            ancestors = [
                other
                for other in alike
                if other.image != build.image and (end < len(build.layers) or other.steps < build.steps)
            ]
            if ancestors:
                return max(ancestors, key=lambda other: (other.steps, other.stream == build.stream, other.image))
        return None
