"""The table of registries: how they are asked, and what is pushed to them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from rebuilder.config.table import OneOrMore, StrictModel
from rebuilder.domain.image import stream_name
from rebuilder.domain.image_name import ImageName


def _as_format(value: object) -> object:
    """`true` stands for the one that most scanners read."""
    return ("cyclonedx" if value else "") if isinstance(value, bool) else value


class RegistrySettings(StrictModel):
    """How registries are asked: skopeo's own configuration says with which credentials, mirrors and certificates.

    Each answer may take `call_seconds`, and `at_once` images are asked for, or pushed, at one time. `rpmdb` are the
    folders in which an image may have its RPM database. Images that were built on this machine are pushed to each
    repository of `push`, which may use {name} and {stream}, under each of `tags`, which may use {stream}, {date} and
    {n} (1 for the first of the day): one with {n} never moves. `auth_file` is the login for that, else skopeo's own.
    Before a tag moves to a build, its bill of materials is attached where `sbom` says so (true is CycloneDX), and the
    command `sign` is run, with the pull spec by digest for {ref}; it may take `sign_seconds`.
    """

    call_seconds: float = Field(default=60, gt=0)
    at_once: int = Field(default=4, ge=1, le=32)
    rpmdb: tuple[str, ...] = ("/usr/lib/sysimage/rpm", "/var/lib/rpm", "/usr/share/rpm")
    push: OneOrMore[str] = ()
    tags: OneOrMore[str] = ("{stream}", "{stream}-{date}.{n}")
    auth_file: Path | None = None
    sbom: Annotated[Literal["", "cyclonedx", "spdx"], BeforeValidator(_as_format)] = ""
    sign: tuple[str, ...] = ()
    sign_seconds: float = Field(default=300, gt=0)

    @field_validator("push")
    @classmethod
    def _are_repositories(cls, repositories: tuple[str, ...]) -> tuple[str, ...]:
        for text in repositories:
            host, slash, path = _filled(text, name="app", stream="f42").partition("/")
            if not slash or not path or ":" in path or "@" in path or not ("." in host or ":" in host):
                raise ValueError(f"{text!r} is not a repository: use registry.example.com/team/{{name}}")
        return repositories

    @field_validator("tags")
    @classmethod
    def _are_tags(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        for text in tags:
            stream_name(_filled(text, stream="f42", date="20261128", n=1))
        return tags

    @field_validator("sign")
    @classmethod
    def _names_the_image(cls, command: tuple[str, ...]) -> tuple[str, ...]:
        if command and not any("{ref}" in word for word in command[1:]):
            raise ValueError('a word of it must have {ref}, as in ["cosign", "sign", "{ref}"]')
        return command

    @model_validator(mode="after")
    def _has_a_tag_of_its_own(self) -> RegistrySettings:
        if (self.sign or self.sbom) and all("{n}" not in tag for tag in self.tags):
            raise ValueError("sign and sbom need a tag that never moves, with {n}: a build is there before others move")
        return self

    @property
    def floating(self) -> bool:
        """Whether builds are pushed under tags that move."""
        return any("{n}" not in tag for tag in self.tags)

    def specs(self, image: str, date: str, n: int) -> tuple[tuple[str, bool], ...]:
        """The names that the build of an image is pushed under, and whether each moves; those that never do first."""
        name, stream = ImageName.of(image)
        places = [_filled(place, name=name, stream=stream) for place in self.push]
        tags = {_filled(tag, stream=stream, date=date, n=n): "{n}" not in tag for tag in self.tags}
        specs = [(f"{place}:{tag}", moves) for place in dict.fromkeys(places) for tag, moves in tags.items()]
        return tuple(sorted(specs, key=lambda one: one[1]))

    def floating_name(self, image: str) -> str:
        """The first name of the image (name:stream) in a registry that moves to each new build; "" with none."""
        return next((spec for spec, moves in self.specs(image, "", 0) if moves), "")


def _filled(text: str, **values: object) -> str:
    """The text with its {names} filled in. Raises ValueError for one that means nothing here."""
    try:
        return text.format(**values)
    except (KeyError, IndexError) as error:
        raise ValueError(f"{text!r}: {error} is not known: use {', '.join(f'{{{name}}}' for name in values)}") from None
