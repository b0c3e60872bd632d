"""How the images of a folder tree are called: in the inventory, in Containerfiles, and in this machine's storage."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import product

from msgspec import Struct, field

from rebuilder.domain.image_name import ImageName

LOCAL = "localhost/"
STORAGE = "containers-storage:"
REGISTRY = "docker://"


class Naming(Struct, frozen=True):
    """How images of a tree are called.

    `stream` is that of folders which do not say, `streams` has all that are configured. `known` has the images
    (name:stream) that folders made before, by their paths: their names stay, whatever other folders appear. With
    `registry`, the prefix under which the images are published, REGISTRY/NAME is an image of the tree.
    """

    stream: str
    known: Mapping[str, Collection[str]] = field(default_factory=dict)
    registry: str = ""
    streams: tuple[str, ...] = ()

    @property
    def prefixes(self) -> tuple[str, ...]:
        """What may stand before an image's name."""
        here = ("", LOCAL, STORAGE, f"{STORAGE}{LOCAL}")
        published = f"{self.registry.rstrip('/')}/"
        return (*here, published, f"{REGISTRY}{published}") if self.registry else here

    def specs(self, key: str, stream: str) -> Iterator[str]:
        """All that a Containerfile of an image of that stream may call the image `key`."""
        name, of = ImageName.of(key)
        for prefix, suffix in product(self.prefixes, ("", ":latest", f":{of}") if of == stream else (f":{of}",)):
            yield f"{prefix}{name}{suffix}"


def tag(image: str) -> str:
    """The name that the image, `name:stream`, has in this machine's storage."""
    return f"{LOCAL}{image}"
