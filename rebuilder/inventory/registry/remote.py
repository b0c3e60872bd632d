"""The images of repositories as their registries have them now, read by several threads at one time.

Where nothing has changed, one cheap request for each tag tells it, and nothing else is asked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor

from msgspec import Struct, field

from rebuilder.config import Settings
from rebuilder.domain.external import repository
from rebuilder.domain.image import Image, Manifest
from rebuilder.inventory.platforms import HERE
from rebuilder.inventory.registry import tags
from rebuilder.inventory.registry.layers import Layered
from rebuilder.inventory.registry.tags import Tagged
from rebuilder.inventory.source import Progress
from rebuilder.registry.description import Description
from rebuilder.registry.document import RemoteImage
from rebuilder.registry.errors import Cause, ContentsError, RegistryError
from rebuilder.registry.reader import RegistryReader


class Known(Struct, frozen=True):
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

    def under(self, place: str) -> list[str]:
        """The images that are tags of this repository."""
        return [key for key, image in self.images.items() if repository(image.pull_spec) == place]

    def is_under(self, tagged: Tagged) -> bool:
        """Whether the image had this very tag."""
        return tagged.key in self.images and self.images[tagged.key].pull_spec == tagged.spec


class Remote(Struct, frozen=True):
    """An image as the registry has it now. `manifest` is None where it is known already, or cannot be read."""

    tagged: Tagged
    remote: RemoteImage
    description: Description
    manifest: Manifest | None

    @property
    def layered(self) -> Layered:
        """Its image, digest and layers, by which others are found to be built on it."""
        about = self.description
        return Layered(self.tagged.key, self.remote.digest, about.layers, about.steps)


Answer = Remote | Exception | None  # None: the tag has just gone
Tags = list[Tagged] | Exception


class Answers(Struct, frozen=True):
    """What the registries said: the tags of the repositories that had to be listed, and the image of each tag."""

    listed: Mapping[str, Tags]
    images: Mapping[Tagged, Answer]

    @property
    def found(self) -> list[Remote]:
        """The images that the registries have."""
        return [answer for answer in self.images.values() if isinstance(answer, Remote)]

    def raise_if_all_failed(self) -> None:
        """A registry that is away is no fault of any image. Raises RegistryError where nothing else was heard."""
        heard: list[Answer | Tags] = [*self.listed.values(), *self.images.values()]
        said = [answer for answer in heard if answer]
        errors = [answer for answer in said if isinstance(answer, RegistryError)]
        if errors and len(errors) == len(said):
            raise errors[0]

    def failed(self, remembered: Known) -> Iterator[tuple[str, Exception]]:
        """The images that cannot be read, also those that are known of repositories that cannot be listed."""
        for tagged, answer in self.images.items():
            if isinstance(answer, Exception):
                yield tagged.key, answer
        for place, tags_found in self.listed.items():
            if isinstance(tags_found, Exception):
                yield from ((key, tags_found) for key in remembered.under(place))


class Repositories(Struct, frozen=True):
    """Asks for repositories, by the threads of the pool."""

    settings: Settings
    known: Known
    reader: RegistryReader
    pool: Executor

    def ask(self, names: Mapping[str, str], progress: Progress | None = None) -> Answers:
        """What is in these repositories, each with what its images are called. `progress` is told of each image."""
        remembered = {place: choices for place, name in names.items() if (choices := self._remembered(place, name))}
        listed = self._list({place: name for place, name in names.items() if place not in remembered})
        images = self._read({**listed, **remembered}, progress)
        gone = {tagged.repository for tagged, answer in images.items() if answer is None} & remembered.keys()
        return self._again(Answers(listed, images), {place: names[place] for place in gone})

    def _again(self, answers: Answers, names: Mapping[str, str]) -> Answers:
        """The answers, with those repositories anew of which a tag that was remembered has gone: another may count."""
        if not names:
            return answers
        listed = self._list(names)
        kept = {tagged: answer for tagged, answer in answers.images.items() if tagged.repository not in names}
        return Answers({**answers.listed, **listed}, {**kept, **self._read(listed, None)})

    def _remembered(self, place: str, name: str) -> list[Tagged]:
        """The tags that were read before, where the repository need not be listed: no other one could count more."""
        choices = tags.first_choices(place, name, self.settings)
        return choices if all(map(self.known.is_under, choices)) else []

    def _list(self, names: Mapping[str, str]) -> dict[str, Tags]:
        return dict(zip(names, self.pool.map(self._tags, names, names.values()), strict=True))

    def _tags(self, place: str, name: str) -> Tags:
        try:
            return tags.of_repository(place, name, self.settings)
        except (RegistryError, ContentsError) as error:
            return error

    def _read(self, listed: Mapping[str, Tags], progress: Progress | None) -> dict[Tagged, Answer]:
        images = [tagged for tags in listed.values() if not isinstance(tags, Exception) for tagged in tags]
        answers = _told(self.pool.map(self._image, images), len(images), progress)
        return dict(zip(images, answers, strict=True))

    def _image(self, tagged: Tagged) -> Answer:
        """The image; why it cannot be read; or None for a tag that has just gone."""
        reader = self.reader
        try:
            remote = reader.resolve(tagged.spec, self.known.builds.get(tagged.key, ""))
            platform = _platform(remote)
            about = reader.describe(remote, platform)
            has = self.known.has(tagged.key, remote.digest)
            contents = None if has else reader.contents(remote, platform)
        except (RegistryError, ContentsError) as error:
            return None if isinstance(error, RegistryError) and error.cause is Cause.MISSING else error
        return Remote(tagged, remote, about, contents.manifest if contents else None)


def _told(answers: Iterable[Answer], count: int, progress: Progress | None) -> Iterator[Answer]:
    """The answers as they come, each of which is told of."""
    for number, answer in enumerate(answers, 1):
        if progress is not None:
            progress(number, count)
        yield answer


def _platform(remote: RemoteImage) -> str:
    """This machine's platform where the image is there for it, else the first that it is there for."""
    there = remote.document.platforms
    return HERE if not there or remote.document.for_platform(HERE) else next(iter(there))
