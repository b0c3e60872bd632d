"""External parents at their registries: which digests they have now, and what is in those that are not known yet."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from rebuilder.config import Settings
from rebuilder.domain.image import Manifest
from rebuilder.inventory.containerfile import HERE
from rebuilder.registry.document import RemoteImage
from rebuilder.registry.errors import ContentsError, RegistryError
from rebuilder.registry.pull_spec import is_remote, pinned, without_digest
from rebuilder.registry.reader import RegistryReader

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}  # what Koji and OSBS call them, and what registries do


@dataclass(frozen=True, slots=True)
class Wanted:
    """A pull spec to be asked for: the `platforms` in use, and of which of these the contents of `digest` are known.

    `name` is its full name, where that is known."""

    spec: str
    platforms: Collection[str]
    name: str = ""
    digest: str = ""
    known: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """The answer of a registry, or the `trouble` why there is none.

    `contents` has the manifest of each platform that was not known, and how it is known. `offered` is what the tag of a
    pull spec with a digest names now.
    """

    spec: str
    name: str = ""
    digest: str = ""
    offered: str = ""
    contents: Mapping[str, tuple[Manifest | None, str]] | None = None
    trouble: str = ""


def platforms_of(settings: Settings, named: Collection[str]) -> tuple[str, ...]:
    """The platforms for which a parent is used: those that sources name, else those that the builder builds for."""
    if named:
        return tuple(sorted(named))
    built = tuple(f"linux/{ARCHITECTURES.get(arch, arch)}" for arch in settings.own_builder.platforms)
    return built or (HERE,)


def remote(specs: Collection[str]) -> list[str]:
    """Those of the pull specs that a registry can be asked for."""
    return sorted(filter(is_remote, specs))


def ask(wanted: Collection[Wanted], settings: Settings, heard: Callable[[], None] = lambda: None) -> Iterator[Found]:
    """What the registries say: one request for each whose digest is known. `heard` is told of each that is done.

    One that is unreachable is no error here, and keeps no other one waiting.
    """
    with RegistryReader(settings.registry) as reader, ThreadPoolExecutor(settings.registry.at_once) as pool:
        for found in pool.map(lambda one: _ask(reader, one), wanted):
            heard()
            yield found


def _ask(reader: RegistryReader, wanted: Wanted) -> Found:
    try:
        if pinned(wanted.spec) and wanted.digest and not set(wanted.platforms) - set(wanted.known):
            return Found(wanted.spec, wanted.name, wanted.digest, _offered(reader, wanted.spec), {})
        image = reader.look(wanted.spec, wanted.digest)
        offered = _offered(reader, wanted.spec) if pinned(wanted.spec) else ""
        known = wanted.known if image.digest == wanted.digest else ()
        contents = {platform: _contents(reader, image, platform) for platform in set(wanted.platforms) - set(known)}
    except (RegistryError, ContentsError) as error:
        return Found(wanted.spec, trouble=str(error))
    return Found(wanted.spec, image.name, image.digest, offered, contents)


def _contents(reader: RegistryReader, image: RemoteImage, platform: str) -> tuple[Manifest | None, str]:
    found = reader.contents(image, platform)
    return found.manifest, found.origin


def _offered(reader: RegistryReader, spec: str) -> str:
    """The digest that somebody may pin in place of the one that is named; "" where there is no tag to ask for."""
    tagged = without_digest(spec)
    if ":" not in tagged.rpartition("/")[2]:
        return ""
    try:
        return reader.look(tagged).digest
    except (RegistryError, ContentsError):
        return ""
