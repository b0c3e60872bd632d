"""The tables of streams, and of where images come from."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator, model_validator

from rebuilder.config.builders import OsbsStreamSettings
from rebuilder.config.table import OneOrMore, StrictModel
from rebuilder.domain.image import dist_tags
from rebuilder.plugins import PluginGroup

SOURCES = PluginGroup(
    "source", "rebuilder.sources", "rebuilder.inventory.sources", ("containerfiles", "file", "koji", "registry")
)


class StreamSettings(StrictModel):
    """What feeds a stream, and what its images are built for. `dist` is one dist tag or pattern, or a list of them.

    `git_branch` is where Koji builds its images from, where no build of theirs says; empty is the stream's name.
    `repo_tags` are the build tags whose repositories its images are built from; empty is that of `koji_target`. `tags`
    are the tags, or patterns of them, that its images have in a registry, the best first; empty is the stream's name.
    `test` is the command that is run in each new build before any name moves to it, or `test_script` the path of a
    script; it may take `test_timeout` seconds, and uses the network with `test_network` alone. With `gate` each new
    build waits for somebody to say that it is good; `gate_test` is the test of a CI, as ResultsDB names it, whose
    result says so by message. After `gate_timeout` seconds without an answer it needs attention; it opens by no time,
    and 0 means that it needs attention at once. What an image says itself goes before `test` and `test_script`.
    """

    dist: OneOrMore[str] = ()
    bodhi_releases: tuple[str, ...] = ()
    koji_tags: tuple[str, ...] = ()
    koji_target: str = ""
    repo_tags: tuple[str, ...] = ()
    tags: OneOrMore[str] = ()
    git_branch: str = ""
    testing: bool = False
    max_builds: int | None = Field(default=None, ge=1)
    osbs: OsbsStreamSettings = OsbsStreamSettings()
    test: tuple[str, ...] = ()
    test_script: Path | None = None
    test_timeout: float = Field(default=1800, gt=0)
    test_network: bool = False
    gate: bool = False
    gate_test: str = ""
    gate_timeout: float = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _one_test(self) -> StreamSettings:
        if self.test and self.test_script:
            raise ValueError("test and test_script cannot be combined: name one of them")
        if self.test_script and not self.test_script.is_absolute():
            raise ValueError(f"test_script: {str(self.test_script)!r} must be an absolute path")
        return self

    @field_validator("dist")
    @classmethod
    def _are_dist_tags(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        return dist_tags(texts)


class SourceSettings(StrictModel):
    """Where an image is built from: a commit or branch of a git repository, or a folder."""

    git: str = ""
    ref: str = ""
    commit: str = ""
    path: Path | None = None
    containerfile: str = ""


class InventorySettings(StrictModel):
    """Where images come from: `path` is the document of `file`, or the folder of `containerfiles`.

    `registry` is the prefix under which the folders' images are published, and by which they name each other.
    `repositories` are those of the images in a registry, or patterns as `registry.example.com/team/*` where that has a
    catalog. `sources` says where images of a registry (`name` or `name:stream`) are built from.
    """

    source: str = "file"
    path: Path | None = None
    stream: str = "default"
    registry: str = ""
    repositories: tuple[str, ...] = ()
    sources: dict[str, SourceSettings] = Field(default_factory=dict)

    @field_validator("source")
    @classmethod
    def _known_source(cls, name: str) -> str:
        return SOURCES.check_name(name)

    @field_validator("repositories")
    @classmethod
    def _are_repositories(cls, repositories: tuple[str, ...]) -> tuple[str, ...]:
        for text in repositories:
            host, slash, path = text.partition("/")
            if not slash or not path or not ("." in host or ":" in host or host == "localhost"):
                raise ValueError(f"{text!r} is not a repository: use registry.example.com/team/app")
            if ":" in path or "@" in path:
                raise ValueError(f"{text!r} has a tag: which tags count, streams.NAME.tags says")
        return repositories

    @model_validator(mode="after")
    def _has_repositories(self) -> InventorySettings:
        if self.source == "registry" and not self.repositories:
            raise ValueError("name the repositories of the images: repositories = [...]")
        return self
