"""The inventory document: its shape, what it means, and how an inventory is written as one.

Large documents are mostly RPMs, the same ones again and again: each is looked at once, however many images have it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from functools import cached_property
from typing import Any

import msgspec

from rebuilder.domain.affected import Carried
from rebuilder.domain.errors import RequestError
from rebuilder.domain.graph import Cycle, Graph
from rebuilder.domain.image import (
    DEFAULT_STREAM,
    Image,
    ImageBuild,
    Inventory,
    Manifest,
    Parent,
    ParentKind,
    Source,
    Stream,
)
from rebuilder.domain.rpm import Rpm

Place = tuple[str | int, ...]
LONGEST_BUILD = 1e9
SAID = re.compile(r"(?P<what>.*?)(?: - at `(?P<path>[^`]*)`)?", re.DOTALL)
STEP = re.compile(r"\.(?P<key>\w+)|\[(?P<at>\d+)\]")
UNKNOWN_KEY = re.compile(r"Object contains unknown field `(.*)`")
QUOTED = re.compile(r"`([^`]*)`")
WORDS = {"object": "a mapping", "array": "a list", "str": "text", "int": "a number", "float": "a number",
         "bool": "true or false", "null": "nothing"}


class Wrong(Exception):
    """Something in the document is wrong; `place` leads there from its root."""

    def __init__(self, what: str, *place: str | int) -> None:
        super().__init__(what)
        self.place: Place = place


def misshapen(error: msgspec.ValidationError, *above: str | int) -> Wrong:
    """What msgspec found below that place, in our words."""
    found = SAID.fullmatch(str(error))
    assert found is not None
    what, path = found["what"], found["path"] or "$"
    steps = [step["key"] if step["key"] else int(step["at"]) for step in STEP.finditer(path)]
    if unknown := UNKNOWN_KEY.fullmatch(what):
        return Wrong("unknown key", *above, *steps, unknown[1])
    what = QUOTED.sub(lambda word: " or ".join(WORDS.get(part, part) for part in word[1].split(" | ")), what)
    return Wrong(what[0].lower() + what[1:], *above, *steps)


class StreamEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    dist: str = ""


class ParentEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    image: str | None = None
    external: str | None = None
    kind: str = "base"


class SourceEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    git: str = ""
    ref: str = ""
    commit: str = ""
    path: str = ""
    containerfile: str = ""


class RpmEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    nevra: str
    source: str = ""


class ImageEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    stream: str = DEFAULT_STREAM
    parents: list[str | ParentEntry] | None = None
    source: SourceEntry | None = None
    rpms: list[str | RpmEntry] | msgspec.UnsetType | None = msgspec.UNSET
    duration: float = 0.0
    pull_spec: str = ""
    build: str = ""


class Root(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`streams` is looked at later: what is wrong in a mapping of any names, msgspec does not locate."""

    version: Any = None
    streams: dict[str, Any] | None = None
    images: list[ImageEntry] | None = None


class Document:
    """A document that is well formed and means something. Raises Wrong where it does not."""

    def __init__(self, root: Root) -> None:
        if isinstance(root.version, bool) or root.version != 1:
            raise Wrong("must be 1", "version")
        self._entries = root.images or []
        self.streams = tuple(_stream(name, value) for name, value in (root.streams or {}).items())
        self.images = tuple(_image(entry, at) for at, entry in enumerate(self._entries))
        self.graph = _connected(self.images)
        self._rpms = self._parsed()

    def _parsed(self) -> dict[str | RpmEntry, Rpm]:
        """Every RPM of the document, once."""
        distinct: dict[str | RpmEntry, None] = {}
        for entry in self._entries:
            distinct.update(dict.fromkeys(entry.rpms or ()))
        parsed = {}
        for item in distinct:
            try:
                parsed[item] = Rpm.parse(item) if isinstance(item, str) else Rpm.parse(item.nevra, item.source)
            except RequestError as error:
                raise self._misplaced(item, str(error)) from None
        return parsed

    def _misplaced(self, item: str | RpmEntry, what: str) -> Wrong:
        at, entry = next((at, entry) for at, entry in enumerate(self._entries) if entry.rpms and item in entry.rpms)
        return Wrong(what, "images", at, "rpms", list(entry.rpms or ()).index(item))

    @cached_property
    def inventory(self) -> Inventory:
        """All of it, with every manifest."""
        builds = []
        for image, entry in zip(self.images, self._entries, strict=True):
            if entry.rpms is not msgspec.UNSET:
                manifest = Manifest(frozenset(map(self._rpms.__getitem__, entry.rpms or ())))
                builds.append(ImageBuild(image.key, entry.build or "document-" + manifest.digest[:12], manifest))
        return Inventory(self.images, self.streams, tuple(builds))

    def carried(self, sources: Container[str]) -> Carried:
        """The RPMs of these source packages in each image, without making manifests."""
        wanted = {item for item, rpm in self._rpms.items() if rpm.source in sources}
        found = {}
        for image, entry in zip(self.images, self._entries, strict=True):
            here = wanted.intersection(entry.rpms or ())
            if here:
                found[image.key] = sorted((self._rpms[item] for item in here), key=lambda rpm: rpm.nevra)
        unread = (i.key for i, entry in zip(self.images, self._entries, strict=True) if entry.rpms is msgspec.UNSET)
        return Carried(found, frozenset(unread))


def _stream(name: str, value: Any) -> Stream:
    try:
        entry = msgspec.convert(value or {}, StreamEntry)
    except msgspec.ValidationError as error:
        raise misshapen(error, "streams", name) from None
    return Stream(_text(name, "streams", name), _text(entry.dist, "streams", name, "dist"))


def _image(entry: ImageEntry, at: int) -> Image:
    place = "images", at
    source = entry.source or SourceEntry()
    if not 0 <= entry.duration < LONGEST_BUILD:
        raise Wrong("must be seconds", *place, "duration")
    _text(entry.build, *place, "build")
    for key in SourceEntry.__struct_fields__:
        _text(getattr(source, key), *place, "source", key)
    stream = _name(entry.stream, *place, "stream")
    return Image(
        _name(entry.name, *place, "name"),
        stream,
        tuple(_parent(item, stream, *place, "parents", which) for which, item in enumerate(entry.parents or ())),
        Source(source.git, source.ref, source.commit, source.path, source.containerfile),
        float(entry.duration),
        _text(entry.pull_spec, *place, "pull_spec"),
    )


def _parent(item: str | ParentEntry, stream: str, *place: str | int) -> Parent:
    entry = ParentEntry(image=item) if isinstance(item, str) else item
    if entry.kind not in list(ParentKind):
        raise Wrong("must be base or stage", *place, "kind")
    kind = ParentKind(entry.kind)
    if (entry.image is None) == (entry.external is None):
        raise Wrong("a parent has image or external", *place)
    if entry.external is not None:
        return Parent(kind, external=_name(entry.external, *place, "external"))
    name = _name(entry.image or "", *place, "image")
    return Parent(kind, name if ":" in name else f"{name}:{stream}")


def _text(value: str, *place: str | int) -> str:
    if not value.isprintable():
        raise Wrong("must be text without control characters", *place)
    return value


def _name(value: str, *place: str | int) -> str:
    if not value:
        raise Wrong("must not be empty", *place)
    return _text(value, *place)


def _connected(images: tuple[Image, ...]) -> Graph:
    """Every image is there once, and so is every parent; none is built on itself."""
    places: dict[str, int] = {}
    for at, image in enumerate(images):
        if image.key in places:
            raise Wrong(f"image {image} is there twice", "images", at)
        places[image.key] = at
    for at, image in enumerate(images):
        for which, parent in enumerate(image.parents):
            if parent.image and parent.image not in places:
                raise Wrong(f"unknown parent {parent}", "images", at, "parents", which)
    try:
        return Graph(images)
    except Cycle as error:
        raise Wrong(str(error), "images", places[error.path[0]]) from None


def written(inventory: Inventory, manifest_of: Callable[[str], ImageBuild | None]) -> dict[str, Any]:
    """The inventory as a document that can be read again; manifests are asked for one image at a time."""
    return {
        "version": 1,
        "streams": {stream.name: {"dist": stream.dist} for stream in inventory.streams},
        "images": [_written(image, manifest_of(image.key)) for image in inventory.images],
    }


def _written(image: Image, build: ImageBuild | None) -> dict[str, Any]:
    fields = SourceEntry.__struct_fields__
    written: dict[str, Any] = {
        "name": image.name,
        "stream": image.stream,
        "parents": [
            {"image" if parent.image else "external": str(parent), "kind": str(parent.kind)}
            for parent in image.parents
        ],
        "source": {key: getattr(image.source, key) for key in fields if getattr(image.source, key)},
    }
    if image.estimate:
        written["duration"] = image.estimate
    if image.pull_spec:
        written["pull_spec"] = image.pull_spec
    if build is not None:
        written["build"] = build.ident
        if build.manifest is not None:
            rpms = sorted(build.manifest.rpms, key=lambda rpm: rpm.nevra)
            written["rpms"] = [{"nevra": rpm.nevra, "source": rpm.sourcerpm} for rpm in rpms]
    return written
