"""The shape of an inventory document: its entries as they are written, and what is told of one that is misshapen."""

from __future__ import annotations

import re
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec

from rebuilder.domain.image import DEFAULT_STREAM

Place = tuple[str | int, ...]
SAID = re.compile(r"(?P<what>.*?)(?: - at `(?P<path>[^`]*)`)?", re.DOTALL)
STEP = re.compile(r"\.(?P<key>\w+)|\[(?P<at>\d+)\]")
UNKNOWN_KEY = re.compile(r"Object contains unknown field `(.*)`")
QUOTED = re.compile(r"`([^`]*)`")
WORDS = {"object": "a mapping", "array": "a list", "str": "text", "int": "a number", "float": "a number",
         "bool": "true or false", "null": "nothing"}


class DocumentError(Exception):
    """Something in the document is wrong; `place` leads there from its root."""

    def __init__(self, what: str, *place: str | int) -> None:
        super().__init__(what)
        self.place: Place = place


def misshapen(error: msgspec.ValidationError, *above: str | int) -> DocumentError:
    """What msgspec found below that place, in our words."""
    match = SAID.fullmatch(str(error))
    assert match is not None
    what, path = match["what"], match["path"] or "$"
    steps = [step["key"] if step["key"] else int(step["at"]) for step in STEP.finditer(path)]
    if unknown := UNKNOWN_KEY.fullmatch(what):
        return DocumentError("unknown key", *above, *steps, unknown[1])
    what = QUOTED.sub(lambda word: " or ".join(WORDS.get(part, part) for part in word[1].split(" | ")), what)
    return DocumentError(what[0].lower() + what[1:], *above, *steps)


class StreamEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A stream: the dist tags of its releases, one or several."""

    dist: str | list[str] = ""


class ParentEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A parent: another image of the document, or a pull spec of somebody else's; `kind` says what it is for."""

    image: str | None = None
    external: str | None = None
    kind: str = "base"


class CareEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who looks after an image, and how a new build is tested; `test_timeout` and `max_age` in seconds."""

    owners: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    test_timeout: float = 0.0
    max_age: float = 0.0
    test_script: str = ""
    test_network: bool = False
    gate: bool = False


class SourceEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an image is built from; empty where it is unknown."""

    git: str = ""
    ref: str = ""
    commit: str = ""
    path: str = ""
    containerfile: str = ""
    target: str = ""
    build_args: dict[str, str] = msgspec.field(default_factory=dict)
    platforms: tuple[str, ...] = ()
    registry: str = ""
    digest: str = ""
    upgrades: str = ""
    care: CareEntry = CareEntry()


class RpmEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """An RPM in an image, `name-[epoch:]version-release.arch`, and its source RPM."""

    nevra: str
    source: str = ""


RpmItem: TypeAlias = str | RpmEntry
E = TypeVar("E")


class ImageEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An image; `duration` is what its builds take, in seconds. Without `rpms` they are unknown."""

    name: str
    stream: str = DEFAULT_STREAM
    parents: list[str | ParentEntry] | None = None
    source: SourceEntry | None = None
    rpms: list[RpmItem] | msgspec.UnsetType | None = msgspec.UNSET
    duration: float = 0.0
    pull_spec: str = ""
    build: str = ""
    built: str = ""


class Root(msgspec.Struct, Generic[E], frozen=True, forbid_unknown_fields=True):
    """The document before its parts are looked at. What is wrong in a mapping of any names, msgspec does not locate."""

    version: Any = None
    streams: dict[str, Any] | None = None
    images: list[E] | None = None
