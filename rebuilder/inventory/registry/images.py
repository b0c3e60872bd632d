"""The images that are in a registry, with what they are built on and what is in them.

Nothing is pulled: manifests and configurations say what is built on what, and RPM databases are read from as few layers
as it takes. What was read of a digest is kept.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from rebuilder.config import Settings
from rebuilder.domain.image import (
    Fault,
    Image,
    ImageBuild,
    Inventory,
    Manifest,
    Parent,
    ParentKind,
    PinnedParent,
    Source,
)
from rebuilder.inventory.containerfile import HERE
from rebuilder.inventory.registry import tags
from rebuilder.inventory.registry.layers import Ancestors, Layered
from rebuilder.inventory.registry.tags import Tagged
from rebuilder.inventory.source import Progress
from rebuilder.registry.description import BASE_DIGEST, BASE_NAME, REVISION, SOURCE, Description
from rebuilder.registry.document import RemoteImage
from rebuilder.registry.errors import Cause, ContentsError, RegistryError
from rebuilder.registry.pull_spec import at_digest, candidates
from rebuilder.registry.reader import RegistryReader

REMEMBERED = 5  # builds of an image on which others may still stand
GIT = re.compile(r"(git|ssh|https?)(\+\w+)?://|git@")


@dataclass(frozen=True, slots=True)
class Known:
    """What was read before: the images, the idents of their current builds, and the digests of their last ones.

    What is in the `unread` images is not known.
    """

    images: Mapping[str, Image] = field(default_factory=dict)
    builds: Mapping[str, str] = field(default_factory=dict)
    unread: Collection[str] = ()
    last: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def has(self, key: str, digest: str) -> bool:
        """Whether this build of the image was read whole."""
        return self.builds.get(key) == digest and key not in self.unread


@dataclass(frozen=True, slots=True)
class _Found:
    """An image as the registry has it now. `manifest` is None where it is known already, or cannot be read."""

    tagged: Tagged
    remote: RemoteImage
    description: Description
    manifest: Manifest | None

    @property
    def layered(self) -> Layered:
        about = self.description
        return Layered(self.tagged.key, self.remote.digest, about.layers, about.steps)


_Answer = _Found | Exception | None  # None: the tag has just gone


def read(settings: Settings, known: Known, progress: Progress | None = None) -> Inventory:
    """All images of the configured repositories.

    Raises RegistryError where no registry answers, and RequestError for repositories that make no sense. One image that
    cannot be read is a fault, and stops no other.
    """
    reader = RegistryReader(settings.registry)
    names = tags.names(tags.repositories(settings))
    with ThreadPoolExecutor(settings.registry.at_once) as pool:
        listed = dict(zip(names, pool.map(lambda place: _tags(place, names[place], settings), names), strict=True))
        wanted = [tagged for found in listed.values() if not isinstance(found, Exception) for tagged in found]
        found = pool.map(lambda tagged: _image(reader, tagged, known), wanted)
        answers = list(zip(wanted, _told(found, len(wanted), progress), strict=True))
    _raise_if_all_failed([*listed.values(), *(answer for _, answer in answers)])
    faults = [Fault(tagged.key, str(error)) for tagged, error in answers if isinstance(error, Exception)]
    faults += _unlisted(listed, known)
    read_whole = [answer for _, answer in answers if isinstance(answer, _Found)]
    return _inventory(read_whole, _Earlier(reader, known), settings, faults)


def _told(answers: Iterable[_Answer], count: int, progress: Progress | None) -> Iterator[_Answer]:
    """The answers as they come, each of which is told of."""
    for number, answer in enumerate(answers, 1):
        if progress is not None:
            progress(number, count)
        yield answer


def _unlisted(listed: Mapping[str, list[Tagged] | Exception], known: Known) -> Iterator[Fault]:
    """The images that are known of repositories that could not be listed."""
    for repository, error in listed.items():
        if isinstance(error, Exception):
            yield from (Fault(key, str(error)) for key in _known_in(known, repository))


def _tags(repository: str, name: str, settings: Settings) -> list[Tagged] | Exception:
    try:
        return tags.of_repository(repository, name, settings)
    except (RegistryError, ContentsError) as error:
        return error


def _image(reader: RegistryReader, tagged: Tagged, known: Known) -> _Answer:
    """The image; why it cannot be read; or None for a tag that has just gone."""
    try:
        remote = reader.look(tagged.spec)
        platform = _platform(remote)
        about = reader.describe(remote, platform)
        contents = None if known.has(tagged.key, remote.digest) else reader.contents(remote, platform)
    except (RegistryError, ContentsError) as error:
        return None if isinstance(error, RegistryError) and error.cause is Cause.MISSING else error
    return _Found(tagged, remote, about, contents.manifest if contents else None)


def _platform(remote: RemoteImage) -> str:
    """This machine's platform where the image is there for it, else the first that it is there for."""
    there = remote.document.platforms
    return HERE if not there or remote.document.for_platform(HERE) else next(iter(there))


def _raise_if_all_failed(answers: Sequence[object]) -> None:
    """A registry that is away is no fault of any image."""
    errors = [one for one in answers if isinstance(one, RegistryError)]
    if errors and len(errors) == len([one for one in answers if one]):
        raise errors[0]


def _known_in(known: Known, repository: str) -> list[str]:
    return [key for key, image in known.images.items() if image.pull_spec.rpartition(":")[0] == repository]


@dataclass(frozen=True, slots=True)
class _Earlier:
    """The builds that images had before, on which others may still stand."""

    reader: RegistryReader
    known: Known

    def layered(self, found: Iterable[_Found]) -> list[Layered]:
        """Only those whose layers are kept from when they were read: the registry may have them no more."""
        builds = []
        for one in found:
            for digest in self.known.last.get(one.tagged.key, ()):
                about = self.reader.described(digest)
                if about is not None and digest != one.remote.digest:
                    builds.append(Layered(one.tagged.key, digest, about.layers, about.steps))
        return builds


def _inventory(found: Sequence[_Found], earlier: _Earlier, settings: Settings, faults: Sequence[Fault]) -> Inventory:
    ancestors = Ancestors([*(one.layered for one in found), *earlier.layered(found)])
    specs = {name: one.tagged.key for one in found for name in candidates(one.tagged.spec)}
    labels = {one.tagged.key: one.description.labels for one in found}
    images, builds = [], []
    for one in found:
        under = ancestors.nearest(one.layered)
        parents, pins = _parents(one, under, specs)
        before = earlier.known.images.get(one.tagged.key)
        if before is not None and _still_holds(before, one, earlier.known, labels):
            parents = before.parents
        inherited = labels[under.image] if under is not None else {}
        source = _source(one, inherited, settings)
        images.append(Image(one.tagged.name, one.tagged.stream, parents, source, pull_spec=one.tagged.spec))
        builds.append(ImageBuild(
            one.tagged.key, one.remote.digest, one.manifest, (under.ident,) if under is not None else (),
            one.remote.digest, (one.tagged.spec,), one.description.created, pins,
        ))  # fmt: skip
    return Inventory(tuple(images), settings.known_streams, tuple(builds), tuple(faults))


def _still_holds(before: Image, one: _Found, known: Known, keys: Collection[str]) -> bool:
    """Whether its parents are those that it had: it is the same build, whatever became of what it was built on."""
    there = all(parent.external or parent.image in keys for parent in before.parents)
    return bool(before.parents) and there and known.builds.get(one.tagged.key) == one.remote.digest


def _parents(
    one: _Found, under: Layered | None, specs: Mapping[str, str]
) -> tuple[tuple[Parent, ...], tuple[PinnedParent, ...]]:
    """What it is built on: by its layers, else by its labels."""
    if under is not None:
        return (Parent(ParentKind.BASE, under.image),), ()
    labels = one.description.labels
    name = labels.get(BASE_NAME, "").partition("@")[0]
    full = next(iter(candidates(name)), "") if name else ""
    if not full or specs.get(full) == one.tagged.key:
        return (), ()
    if full in specs:
        return (Parent(ParentKind.BASE, specs[full]),), ()
    digest = labels.get(BASE_DIGEST, "")
    pins = (PinnedParent(full, at_digest(full, digest)),) if digest else ()
    return (Parent(ParentKind.BASE, external=full),), pins


def _source(one: _Found, inherited: Mapping[str, str], settings: Settings) -> Source:
    """Where it is built from: what the configuration says, else its labels, where they are not those of its parent."""
    told = settings.inventory.sources
    written = told.get(one.tagged.key) or told.get(one.tagged.name)
    if written is not None:
        path = str(written.path) if written.path else ""
        return Source(written.git, written.ref, written.commit, path, written.containerfile)
    labels = one.description.labels
    git, commit = labels.get(SOURCE, ""), labels.get(REVISION, "")
    if not GIT.match(git) or (git, commit) == (inherited.get(SOURCE), inherited.get(REVISION, "")):
        return Source()
    return Source(git=git, commit=commit)
