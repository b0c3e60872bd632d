"""How images are named everywhere: `name:stream`. Only here it is split and joined."""

from __future__ import annotations

from typing import NamedTuple


class ImageName(NamedTuple):
    """A line of builds of one container component: its name, and the stream of releases. As text `name:stream`."""

    name: str
    stream: str

    @classmethod
    def of(cls, key: str) -> ImageName:
        """The two parts of `name:stream`; a text without a colon has no name."""
        return cls(name_of(key), stream_of(key))

    def __str__(self) -> str:
        return key_of(self.name, self.stream)


def key_of(name: str, stream: str) -> str:
    """The text, for those who have both parts of a hundred thousand images: a value of the type takes as long again."""
    return f"{name}:{stream}"


def name_of(key: str) -> str:
    """The name in `name:stream`: for those who need one part alone, of many."""
    return key.rpartition(":")[0]


def stream_of(key: str) -> str:
    """The stream in `name:stream`."""
    return key.rpartition(":")[2]
