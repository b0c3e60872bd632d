"""What the rest of rebuilder asks of a kind of builder, before there is one and beside it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from msgspec import Struct
from pydantic import BaseModel, ValidationError

from rebuilder.builders.leftovers import InUse
from rebuilder.builders.protocol import Builder
from rebuilder.config import BUILDERS, Settings
from rebuilder.domain.build import BuildRequest
from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import Image, Manifest
from rebuilder.plugins import Finding


class BuildHistory(Struct, frozen=True):
    """What the store knows of builds, for a builder that keeps nothing itself.

    `manifest_of` gives what is in an image (name:stream); `recall` gives the requests of builds by their references,
    each with the moment at which it was started (seconds since the epoch).
    """

    manifest_of: Callable[[str], Manifest | None]
    recall: Callable[[Sequence[str]], Mapping[str, tuple[BuildRequest, float]]]


class BuilderPlugin:
    """A kind of builder. Others add theirs by an entry point in the group `rebuilder.builders`, named as `builder` is.

    Its settings are `[consumer_config.plugins.NAME]`, which `model` checks where there is one: in `settings.plugins` is
    the table as it was written. `commands` are the programs that it needs.

    For `rebuilder init`: `asks` are the questions that it has, each with its default answer, by the names of options;
    `sample` has its table of the configuration.
    """

    model: ClassVar[type[BaseModel] | None] = None
    commands: ClassVar[Collection[str]] = ()
    runs_tests: ClassVar[bool] = False  # whether its builder can run commands in the images that it builds
    builds_in_koji: ClassVar[bool] = False  # whether its builds are tasks of the hub that consumer_config.koji names
    needs_target: ClassVar[bool] = False  # whether the streams' koji_target says what it builds images for
    builds_nothing: ClassVar[bool] = False  # whether it only says that it did
    asks: ClassVar[Mapping[str, tuple[str, str]]] = {}

    def make(self, settings: Settings, history: BuildHistory) -> Builder:
        """The builder. Raises RequestError where it cannot work here."""
        raise NotImplementedError

    def check(self, settings: Settings) -> None:
        """Raises RequestError saying what the configuration lacks, as a credential. Asks no service."""
        table = settings.plugins.get(settings.builder)
        if self.model is not None:
            try:
                self.model.model_validate(table.model_extra or {} if table else {})
            except ValidationError as error:
                fault = error.errors()[0]
                key = ".".join(map(str, ("consumer_config.plugins", settings.builder, *fault["loc"])))
                raise RequestError(f"{key}: {fault['msg']}") from None

    def questions(self, settings: Settings) -> Iterator[Finding]:
        """What its services say of the configuration, which changes nothing there. Raises what `check` raises."""
        yield from ()

    def platforms(self, settings: Settings, images: Iterable[Image]) -> Iterator[Finding]:
        """Whether it can build here for the platforms that these images ask for. Asks no service."""
        yield from ()

    def warnings(self, settings: Settings) -> Iterator[Finding]:
        """What works and is seldom meant."""
        yield from ()

    def sample(self, answers: Mapping[str, str], *, system: bool) -> str:
        """Its table as TOML with comments; "" for none. `answers` are those to `asks`.

        `system` is whether it is for the services of this machine, whose folders are in systemd/rebuilder.tmpfiles.
        """
        return ""

    def folders(self, settings: Settings) -> Mapping[str, Path]:
        """The folders that it writes to, by what each is."""
        return {}

    def clear(self, settings: Settings, before: float, in_use: InUse, *, rehearsing: bool) -> dict[str, int]:
        """Delete what builds left on this machine, is older than that moment and not in use; how many of each kind.

        Raises StorageError. Nothing is deleted when it is `rehearsing`.
        """
        return {}


def configured(settings: Settings) -> BuilderPlugin:
    """The kind of builder that the configuration names. Raises RequestError for one that cannot be loaded."""
    plugin: BuilderPlugin = BUILDERS.load(settings.builder)
    return plugin


def plugin_of(settings: Settings) -> BuilderPlugin:
    """The kind of builder that builds: in a dry run the simulated one. Raises RequestError."""
    return configured(settings.model_copy(update={"builder": "simulated"}) if settings.dry_run else settings)
