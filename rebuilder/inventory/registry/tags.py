"""Which repositories and tags of registries are images of the inventory, and how these are called."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cmp_to_key

from msgspec import Struct

from rebuilder.config import Settings
from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import image_name, stream_name
from rebuilder.domain.image_name import ImageName
from rebuilder.domain.rpm import EVR
from rebuilder.registry import catalog, skopeo
from rebuilder.registry.errors import ContentsError

ATTACHED = re.compile(r"sha256-[0-9a-f]{64}(\..+)?")  # tags of signatures, SBOMs and what else hangs on images


class Tagged(Struct, frozen=True):
    """An image of the inventory: the stream `stream` of `name` is what `repository:tag` is."""

    name: str
    stream: str
    repository: str
    tag: str

    @property
    def key(self) -> str:
        """The image that the tag is taken for, `name:stream`."""
        return str(ImageName(self.name, self.stream))

    @property
    def spec(self) -> str:
        """The pull spec by tag."""
        return f"{self.repository}:{self.tag}"


def repositories(settings: Settings) -> list[str]:
    """The repositories that the configuration names; patterns are looked up in the registry's catalog.

    Raises RegistryError, and RequestError for a pattern that fits nothing.
    """
    chosen: dict[str, None] = {}
    catalogs: dict[str, list[str]] = {}
    for written in settings.inventory.repositories:
        host, _, pattern = written.partition("/")
        if not _is_glob(pattern):
            chosen[written] = None
            continue
        if host not in catalogs:
            catalogs[host] = catalog.repositories(host, settings.registry.call_seconds)
        fitting = [f"{host}/{name}" for name in catalogs[host] if fnmatchcase(name, pattern)]
        if not fitting:
            raise RequestError(f"consumer_config.inventory.repositories: no repository matches {written}")
        chosen.update(dict.fromkeys(fitting))
    return list(chosen)


def names(repositories: Iterable[str]) -> dict[str, str]:
    """What the images of each repository are called: by the last part of its path, or by all of it where two are alike.

    Raises RequestError for a path that is not a valid name.
    """
    paths = {written: written.partition("/")[2] for written in repositories}
    often = Counter(path.rpartition("/")[2] for path in paths.values())
    by_repository = {}
    for written, path in paths.items():
        short = path.rpartition("/")[2]
        try:
            by_repository[written] = image_name(short if often[short] == 1 else path.replace("/", "-"))
        except ValueError as error:
            raise RequestError(f"consumer_config.inventory.repositories: {written}: {error}") from None
    return by_repository


def of_repository(repository: str, name: str, settings: Settings) -> list[Tagged]:
    """The images of one repository. Raises RegistryError, and ContentsError for an answer that is no list of tags."""
    raw = skopeo.tags(repository, settings.registry.call_seconds)
    try:
        tags = [str(tag) for tag in json.loads(raw)["Tags"] or ()]
    except (ValueError, KeyError, TypeError) as error:
        raise ContentsError(f"the tags of {repository} cannot be read: {error}") from None
    return [Tagged(name, stream, repository, tag) for stream, tag in _streams(tags, _patterns(settings))]


def first_choices(repository: str, name: str, settings: Settings) -> list[Tagged]:
    """The tag of each stream that counts more than any other the repository may have; empty where one has none such."""
    first = {stream: globs[0] for stream, globs in _patterns(settings).items()}
    if any(_is_glob(tag) for tag in first.values()):
        return []
    return [Tagged(name, stream, repository, tag) for stream, tag in first.items()]


def _is_glob(pattern: str) -> bool:
    return any(sign in pattern for sign in "*?[")


def _patterns(settings: Settings) -> Mapping[str, Sequence[str]]:
    return {stream: section.tags or (stream,) for stream, section in settings.streams.items()}


def _streams(tags: Collection[str], patterns: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    """The tag of each stream. With none configured, every tag is a stream of its own."""
    if not patterns:
        for tag in tags:
            if not ATTACHED.fullmatch(tag):
                yield stream_name(tag), tag
        return
    for stream, globs in patterns.items():
        fitting = next((fits for glob in globs if (fits := [tag for tag in tags if fnmatchcase(tag, glob)])), [])
        if fitting:
            yield stream, max(fitting, key=cmp_to_key(_later))


def _later(tag: str, other: str) -> int:
    """As RPM compares versions: f42-10 is later than f42-9."""
    mine, theirs = EVR(0, tag, ""), EVR(0, other, "")
    return int(mine.is_newer_than(theirs)) - int(theirs.is_newer_than(mine))
