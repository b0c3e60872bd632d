"""The images that are in a registry, with what they are built on and what is in them.

Nothing is pulled: manifests and configurations say what is built on what, and RPM databases are read from as few layers
as it takes. What was read of a digest is kept.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from msgspec import Struct

from rebuilder.config import Settings
from rebuilder.domain.image import Fault, Image, ImageBuild, Inventory, Parent, ParentKind, PinnedParent, Source
from rebuilder.inventory.registry import tags
from rebuilder.inventory.registry.layers import Ancestors, Layered
from rebuilder.inventory.registry.remote import Known, Remote, Repositories
from rebuilder.inventory.source import Progress
from rebuilder.registry.description import BASE_DIGEST, BASE_NAME, REVISION, SOURCE
from rebuilder.registry.pull_spec import at_digest, candidates
from rebuilder.registry.reader import RegistryReader

__all__ = ["REMEMBERED", "Known", "read"]
REMEMBERED = 5  # builds of an image on which others may still stand
GIT = re.compile(r"(git|ssh|https?)(\+\w+)?://|git@")


def read(settings: Settings, remembered: Known, progress: Progress | None = None) -> Inventory:
    """All images of the configured repositories.

    Raises RegistryError where no registry answers, and RequestError for repositories that make no sense. One image that
    cannot be read is a fault, and stops no other.
    """
    names = tags.names(tags.repositories(settings))
    with RegistryReader(settings.registry) as reader, ThreadPoolExecutor(settings.registry.at_once) as pool:
        answers = Repositories(settings, remembered, reader, pool).ask(names, progress)
        answers.raise_if_all_failed()
        faults = [Fault(key, str(error)) for key, error in answers.failed(remembered)]
        return _inventory(answers.found, _Earlier(reader, remembered), settings, faults)


class _Earlier(Struct, frozen=True):
    """The builds that images had before, on which others may still stand."""

    reader: RegistryReader
    known: Known

    def layered(self, remotes: Iterable[Remote]) -> list[Layered]:
        """Only those whose layers are kept from when they were read: the registry may have them no more."""
        builds = []
        for one in remotes:
            for digest in self.known.last.get(one.tagged.key, ()):
                about = self.reader.described(digest)
                if about is not None and digest != one.remote.digest:
                    builds.append(Layered(one.tagged.key, digest, about.layers, about.steps))
        return builds


def _inventory(remotes: Sequence[Remote], earlier: _Earlier, settings: Settings, faults: Sequence[Fault]) -> Inventory:
    ancestors = Ancestors([*(one.layered for one in remotes), *earlier.layered(remotes)])
    specs = {name: one.tagged.key for one in remotes for name in candidates(one.tagged.spec)}
    labels = {one.tagged.key: one.description.labels for one in remotes}
    images, builds = [], []
    for one in remotes:
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


def _still_holds(before: Image, one: Remote, remembered: Known, keys: Collection[str]) -> bool:
    """Whether its parents are those that it had: it is the same build, whatever became of what it was built on."""
    there = all(parent.external or parent.image in keys for parent in before.parents)
    return bool(before.parents) and there and remembered.builds.get(one.tagged.key) == one.remote.digest


def _parents(
    one: Remote, under: Layered | None, specs: Mapping[str, str]
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


def _source(one: Remote, inherited: Mapping[str, str], settings: Settings) -> Source:
    """Where it is built from: what the configuration says, else its labels, where they are not those of its parent."""
    sources = settings.inventory.sources
    written = sources.get(one.tagged.key) or sources.get(one.tagged.name)
    if written is not None:
        path = str(written.path) if written.path else ""
        return Source(written.git, written.ref, written.commit, path, written.containerfile)
    labels = one.description.labels
    git, commit = labels.get(SOURCE, ""), labels.get(REVISION, "")
    if not GIT.match(git) or (git, commit) == (inherited.get(SOURCE), inherited.get(REVISION, "")):
        return Source()
    return Source(git=git, commit=commit)
