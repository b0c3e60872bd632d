"""External parents at their registries: which digests they have now, and what is in those that are not known yet."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from msgspec import Struct

from rebuilder.config import Settings
from rebuilder.domain.image import Manifest
from rebuilder.inventory.platforms import HERE
from rebuilder.registry.document import RemoteImage
from rebuilder.registry.errors import ContentsError, RegistryError
from rebuilder.registry.pull_spec import is_remote, pinned, without_digest
from rebuilder.registry.reader import RegistryReader

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}  # what Koji and OSBS call them, and what registries do


class Wanted(Struct, frozen=True):
    """A pull spec to be asked for: the `platforms` in use, and of which of these the contents of `digest` are known.

    `name` is its full name, where that is known."""

    spec: str
    platforms: Collection[str]
    name: str = ""
    digest: str = ""
    known: Collection[str] = ()


class Found(Struct, frozen=True):
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


def ask(parents: Collection[Wanted], settings: Settings, heard: Callable[[], None] = lambda: None) -> Iterator[Found]:
    """What the registries say: one request for each whose digest is known. `heard` is told of each that is done.

    One that is unreachable is no error here, and keeps no other one waiting.
    """
    with RegistryReader(settings.registry) as reader, ThreadPoolExecutor(settings.registry.at_once) as pool:
        for answer in pool.map(lambda one: _ask(reader, one), parents):
            heard()
            yield answer


def _ask(reader: RegistryReader, parent: Wanted) -> Found:
    try:
        if pinned(parent.spec) and parent.digest and not set(parent.platforms) - set(parent.known):
            return Found(parent.spec, parent.name, parent.digest, _offered(reader, parent.spec), {})
        image = reader.resolve(parent.spec, parent.digest)
        offered = _offered(reader, parent.spec) if pinned(parent.spec) else ""
        known = parent.known if image.digest == parent.digest else ()
        contents = {platform: _contents(reader, image, platform) for platform in set(parent.platforms) - set(known)}
    except (RegistryError, ContentsError) as error:
        return Found(parent.spec, trouble=str(error))
    return Found(parent.spec, image.name, image.digest, offered, contents)


def _contents(reader: RegistryReader, image: RemoteImage, platform: str) -> tuple[Manifest | None, str]:
    contents = reader.contents(image, platform)
    return contents.manifest, contents.origin


def _offered(reader: RegistryReader, spec: str) -> str:
    """The digest that somebody may pin in place of the one that is named; "" where there is no tag to ask for."""
    tagged = without_digest(spec)
    if ":" not in tagged.rpartition("/")[2]:
        return ""
    try:
        return reader.resolve(tagged).digest
    except (RegistryError, ContentsError):
        return ""
