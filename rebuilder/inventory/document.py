"""What an inventory document means: its images, how they are built on each other, and the RPMs in them.

Large documents are mostly RPMs, the same ones again and again: each is kept once, however many images have it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Sequence
from functools import cached_property

import msgspec

from rebuilder.domain.errors import RequestError
from rebuilder.domain.graph import Cycle, Graph
from rebuilder.domain.image import Image, ImageBuild, Inventory, Manifest
from rebuilder.domain.impact import InstalledPackages
from rebuilder.domain.rpm import Rpm
from rebuilder.inventory.document_entries import parse_image, parse_stream, parse_time
from rebuilder.inventory.schema import DocumentError, E, ImageEntry, Root, RpmItem, misshapen

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
    """A document that is well formed and means something. Raises DocumentError where it does not.

    `shaped` makes an image's entry of what the document has for it: one at a time, for all of a large document's
    RPMs as text would be hundreds of megabytes.
    """

    def __init__(self, root: Root[E], shaped: Callable[[E], ImageEntry]) -> None:
        if isinstance(root.version, bool) or root.version != 1:
            raise DocumentError("must be 1", "version")
        self.streams = tuple(parse_stream(name, value) for name, value in (root.streams or {}).items())
        self._rpms = _Rpms()
        self._contents: list[tuple[int, ...] | None] = []
        self._builds: list[tuple[str, float | None]] = []
        images = []
        for at, written in enumerate(root.images or ()):
            entry = _shaped(shaped, written, at)
            images.append(parse_image(entry, at))
            self._builds.append((entry.build, parse_time(entry.built, "images", at, "built")))
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
