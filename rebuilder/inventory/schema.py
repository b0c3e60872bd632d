"""The inventory document: its shape, what it means, and how an inventory is written as one.

Large documents are mostly RPMs, the same ones again and again: each is kept once, however many images have it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Container, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec

from rebuilder.domain.errors import RequestError
from rebuilder.domain.graph import Cycle, Graph
from rebuilder.domain.image import (
    DEFAULT_STREAM,
    LONGEST_NAME,
    LONGEST_SPEC,
    Care,
    Image,
    ImageBuild,
    Inventory,
    Manifest,
    Parent,
    ParentKind,
    Source,
    Stream,
    dist_tags,
)
from rebuilder.domain.image_name import ImageName
from rebuilder.domain.impact import InstalledPackages
from rebuilder.domain.rpm import Rpm

Place = tuple[str | int, ...]
LONGEST_BUILD = 1e9
TEXTS = ("git", "ref", "commit", "path", "containerfile", "target", "registry", "digest", "upgrades")  # of a source
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


KEY = "gpg-pubkey-"
NO_PACKAGE = -1


class _Rpms(dict[RpmItem, int]):
    """The place of each RPM in `parsed`, where it comes to when it is first asked for. Raises RequestError.

    Keys that RPM trusts are in its database as packages: `gpg-pubkey-VERSION-RELEASE.(none)`. They are no packages, and
    have the place NO_PACKAGE.
    """

    def __init__(self) -> None:
        super().__init__()
        self.parsed: list[Rpm] = []

    def __missing__(self, item: RpmItem) -> int:
        if (item if isinstance(item, str) else item.nevra).startswith(KEY):
            self[item] = NO_PACKAGE
            return NO_PACKAGE
        parsed = Rpm.parse(item) if isinstance(item, str) else Rpm.parse(item.nevra, item.source)
        self[item] = place = len(self.parsed)
        self.parsed.append(parsed)
        return place


class Document:
    """A document that is well formed and means something. Raises Wrong where it does not.

    `shaped` makes an image's entry of what the document has for it: one at a time, for all of a large document's
    RPMs as text would be hundreds of megabytes.
    """

    def __init__(self, root: Root[E], shaped: Callable[[E], ImageEntry]) -> None:
        if isinstance(root.version, bool) or root.version != 1:
            raise DocumentError("must be 1", "version")
        self.streams = tuple(_stream(name, value) for name, value in (root.streams or {}).items())
        self._rpms = _Rpms()
        self._contents: list[tuple[int, ...] | None] = []
        self._builds: list[tuple[str, float | None]] = []
        images = []
        for at, written in enumerate(root.images or ()):
            entry = _shaped(shaped, written, at)
            images.append(_image(entry, at))
            self._builds.append((entry.build, _moment(entry.built, "images", at, "built")))
            self._contents.append(None if entry.rpms is msgspec.UNSET else self._content(entry.rpms or (), at))
        self.images = tuple(images)
        self.graph = _connected(self.images)

    def _content(self, items: Sequence[RpmItem], at: int) -> tuple[int, ...]:
        try:
            places = tuple(map(self._rpms.__getitem__, items))
        except RequestError as error:
            first = next(which for which, item in enumerate(items) if item not in self._rpms)
            raise DocumentError(str(error), "images", at, "rpms", first) from None
        return places if NO_PACKAGE not in places else tuple(place for place in places if place != NO_PACKAGE)

    @cached_property
    def inventory(self) -> Inventory:
        """All of it, with every manifest."""
        builds = []
        for image, (build, built), content in zip(self.images, self._builds, self._contents, strict=True):
            if content is not None:
                manifest = Manifest(frozenset(map(self._rpms.parsed.__getitem__, content)))
                ident = build or "document-" + manifest.digest[:12]
                builds.append(ImageBuild(image.key, ident, manifest, built=built))
        return Inventory(self.images, self.streams, tuple(builds))

    def sources_of(self, name: str) -> set[str]:
        """The source packages of the RPMs of this name; the name itself where some RPM is made from a package of it."""
        made_from = any(rpm.source == name for rpm in self._rpms.parsed)
        return {name} if made_from else {rpm.source for rpm in self._rpms.parsed if rpm.name == name}

    def carriers(self, rpm: str) -> dict[str, int]:
        """How many images carry RPMs of this name, by their source packages."""
        counts: Counter[str] = Counter()
        for rpms in self.carried(self.sources_of(rpm)).rpms.values():
            counts.update({one.source for one in rpms if one.name == rpm})
        return dict(counts)

    def sources(self) -> set[str]:
        """All source packages."""
        return {rpm.source for rpm in self._rpms.parsed}

    def carried(self, sources: Container[str]) -> InstalledPackages:
        """The RPMs of these source packages in each image, without making manifests."""
        parsed = self._rpms.parsed
        places = {place for place, rpm in enumerate(parsed) if rpm.source in sources}
        rpms, unread = {}, []
        for image, content in zip(self.images, self._contents, strict=True):
            if content is None:
                unread.append(image.key)
            elif here := places.intersection(content):
                rpms[image.key] = sorted((parsed[place] for place in here), key=lambda rpm: rpm.nevra)
        return InstalledPackages(rpms, frozenset(unread))


def _shaped(shaped: Callable[[E], ImageEntry], written: E, at: int) -> ImageEntry:
    try:
        return shaped(written)
    except msgspec.ValidationError as error:
        raise misshapen(error, "images", at) from None


def _stream(name: str, value: Any) -> Stream:
    try:
        entry = msgspec.convert(value or {}, StreamEntry)
    except msgspec.ValidationError as error:
        raise misshapen(error, "streams", name) from None
    written = [entry.dist] if isinstance(entry.dist, str) else entry.dist
    try:
        dist = dist_tags(_text(text, "streams", name, "dist") for text in written)
    except ValueError as error:
        raise DocumentError(str(error), "streams", name, "dist") from None
    return Stream(_short(name, "streams", name), dist)


def _image(entry: ImageEntry, at: int) -> Image:
    place = "images", at
    if not 0 <= entry.duration < LONGEST_BUILD:
        raise DocumentError("must be seconds", *place, "duration")
    _short(entry.build, *place, "build")
    stream = _name(entry.stream, *place, "stream")
    return Image(
        _name(entry.name, *place, "name"),
        stream,
        tuple(_parent(item, stream, *place, "parents", which) for which, item in enumerate(entry.parents or ())),
        _source(entry.source, *place, "source") if entry.source else Source(),
        float(entry.duration),
        _text(entry.pull_spec, *place, "pull_spec"),
    )


def _moment(text: str, *place: str | int) -> float | None:
    """Seconds since the epoch; a time without a zone is UTC."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise DocumentError("must be a time like 2026-11-28T09:00:00Z", *place) from None


def _source(entry: SourceEntry, *place: str | int) -> Source:
    file = PurePosixPath(entry.containerfile)
    if file.is_absolute() or ".." in file.parts:
        raise DocumentError("must be a file in the folder of the source", *place, "containerfile")
    texts = {key: _text(getattr(entry, key), *place, key) for key in TEXTS}
    for key in ("platforms", "build_args"):
        for value in getattr(entry, key):
            _text(value, *place, key)
    return Source(
        **texts, build_args=tuple(sorted(entry.build_args.items())), platforms=entry.platforms,
        care=_care(entry.care, *place, "care"),
    )  # fmt: skip


def _care(care: CareEntry, *place: str | int) -> Care:
    for key in ("test_timeout", "max_age"):
        if not 0 <= getattr(care, key) < LONGEST_BUILD:
            raise DocumentError("must be seconds", *place, key)
    if care.test and care.test_script:
        raise DocumentError("cannot be combined with test: name one of them", *place, "test_script")
    if care.test_script and not PurePosixPath(_text(care.test_script, *place, "test_script")).is_absolute():
        raise DocumentError("must be an absolute path", *place, "test_script")
    for owner in care.owners:
        _text(owner, *place, "owners")
    return Care(**msgspec.structs.asdict(care))


def _parent(item: str | ParentEntry, stream: str, *place: str | int) -> Parent:
    entry = ParentEntry(image=item) if isinstance(item, str) else item
    try:
        kind = ParentKind(entry.kind)
    except ValueError:
        raise DocumentError("must be base or stage", *place, "kind") from None
    if (entry.image is None) == (entry.external is None):
        raise DocumentError("a parent has image or external", *place)
    if entry.external is not None:
        return Parent(kind, external=_name(entry.external, *place, "external", longest=LONGEST_SPEC))
    name = _name(entry.image or "", *place, "image")
    return Parent(kind, name if ":" in name else str(ImageName(name, stream)))


def _text(value: str, *place: str | int) -> str:
    if not value.isprintable():
        raise DocumentError("must be text without control characters", *place)
    if value.startswith("-"):  # a command that it is handed to would take it for an option
        raise DocumentError("must not begin with -", *place)
    return value


def _name(value: str, *place: str | int, longest: int = LONGEST_NAME) -> str:
    if not value:
        raise DocumentError("must not be empty", *place)
    return _short(value, *place, longest=longest)


def _short(value: str, *place: str | int, longest: int = LONGEST_NAME) -> str:
    if len(value) > longest:
        raise DocumentError(f"must have at most {longest} characters", *place)
    return _text(value, *place)


def _connected(images: tuple[Image, ...]) -> Graph:
    """Every image is there once, and so is every parent; none is built on itself."""
    places: dict[str, int] = {}
    for at, image in enumerate(images):
        if image.key in places:
            raise DocumentError(f"image {image} is defined twice", "images", at)
        places[image.key] = at
    for at, image in enumerate(images):
        for which, parent in enumerate(image.parents):
            if parent.image and parent.image not in places:
                raise DocumentError(f"unknown parent {parent}", "images", at, "parents", which)
    try:
        return Graph(images)
    except Cycle as error:
        raise DocumentError(str(error), "images", places[error.path[0]]) from None


def written(inventory: Inventory, manifest_of: Callable[[str], ImageBuild | None]) -> dict[str, Any]:
    """The inventory as a document that can be read again; manifests are asked for one image at a time."""
    return {
        "version": 1,
        "streams": {stream.name: {"dist": _dist_written(stream.dist)} for stream in inventory.streams},
        "images": [_written(image, manifest_of(image.key)) for image in inventory.images],
    }


def _written(image: Image, build: ImageBuild | None) -> dict[str, Any]:
    written: dict[str, Any] = {
        "name": image.name,
        "stream": image.stream,
        "parents": [
            {"image" if parent.image else "external": str(parent), "kind": str(parent.kind)}
            for parent in image.parents
        ],
        "source": source_written(image.source),
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


def _dist_written(dist: tuple[str, ...]) -> str | list[str]:
    return list(dist) if len(dist) > 1 else "".join(dist)


def source_written(source: Source) -> dict[str, Any]:
    """What is said of the source, without what is not said."""
    care = {key: value for key, value in msgspec.structs.asdict(source.care).items() if value}
    fields = {**msgspec.structs.asdict(source), "build_args": dict(source.build_args), "care": care}
    return {key: value for key, value in fields.items() if value}
