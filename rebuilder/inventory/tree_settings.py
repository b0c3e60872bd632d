"""`rebuilder.toml` of a folder tree: at its root, and beside the Containerfiles. Every key is optional.

What the root's file says holds for all folders; a folder's own file goes before it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pathspec import GitIgnoreSpec
from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from rebuilder.config import OneOrMore, StrictModel, first_fault
from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import Care, image_name, stream_name

FILE = "rebuilder.toml"
ANY = "*"  # for every stream
TESTS = {"test", "test_script"}
WHOLE = ""  # the target of a build that goes to the file's last stage
UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
HEADER = re.compile(r"\s*\[+\s*([^\[\]]+?)\s*\]")


def _by_stream(value: Any) -> Any:
    """One pattern, or a list, is for every stream."""
    by_stream = value if isinstance(value, dict) else {ANY: value}
    return {name: (item,) if isinstance(item, str) else item for name, item in by_stream.items()}


def _by_image(value: Any) -> Any:
    return {WHOLE: value} if isinstance(value, str) else value


def _seconds(value: Any) -> Any:
    """`30d` in seconds."""
    match = re.fullmatch(r"(\d{1,6})([mhdw])", value) if isinstance(value, str) else None
    if isinstance(value, str) and match is None:
        raise ValueError("must be a time like 12h or 30d, or seconds")
    return int(match[1]) * UNITS[match[2]] if match else value


class FolderSettings(StrictModel):
    """What a folder's file may say.

    `containerfile` has the names of build files, the first that is there counts; `{stream}` in it is the image's
    stream, and a table has names for each stream. Without `streams` they are those of that table, else those of the
    configuration for which `{stream}` makes a file that is there, else the configuration's one. `target` is the stage
    that the image ends with; a table has several images by their names, each with its stage. `ignore` has patterns as
    in a .gitignore, for folders below this one. `test` is the command that is run in each new build, or `test_script`
    the path of a script in the image's folder; `test_timeout`, `test_network` and `gate` are as those of streams.
    `max_age` and `owners` are kept with the image.
    """

    name: str = ""
    streams: OneOrMore[str] = ()
    containerfile: Annotated[dict[str, tuple[str, ...]], BeforeValidator(_by_stream)] = Field(default_factory=dict)
    target: Annotated[dict[str, str], BeforeValidator(_by_image)] = Field(default_factory=dict)
    build_args: dict[str, str] = Field(default_factory=dict)
    platforms: OneOrMore[str] = ()
    owners: OneOrMore[str] = ()
    ignore: OneOrMore[str] = ()
    test: tuple[str, ...] = ()
    test_timeout: Annotated[float | None, BeforeValidator(_seconds), Field(gt=0)] = None
    test_script: str = ""
    test_network: bool = False
    gate: bool = False
    max_age: Annotated[float | None, BeforeValidator(_seconds), Field(gt=0)] = None

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        return image_name(name) if name else name

    @field_validator("streams")
    @classmethod
    def _are_streams(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(stream_name(name) for name in names))

    @field_validator("containerfile")
    @classmethod
    def _are_files(cls, files: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for stream, names in files.items():
            if stream != ANY:
                stream_name(stream)
            for name in names:
                path = PurePosixPath(name.replace("{stream}", "x"))
                if not name or path.is_absolute() or ".." in path.parts or set("{}") & set(str(path)):
                    raise ValueError(f"{name!r} is not a file in the folder; only {{stream}} is filled in")
        return files

    @field_validator("target")
    @classmethod
    def _are_images(cls, targets: dict[str, str]) -> dict[str, str]:
        for name, stage in targets.items():
            if name != WHOLE:
                image_name(name)
            if not stage:
                raise ValueError("a stage must have a name or a number")
        return targets

    @field_validator("platforms")
    @classmethod
    def _are_platforms(cls, platforms: tuple[str, ...]) -> tuple[str, ...]:
        for platform in platforms:
            if not re.fullmatch(r"\w+/\w+(/\w+)?", platform):
                raise ValueError(f"{platform!r} is not a platform: use linux/arm64")
        return tuple(dict.fromkeys(platforms))

    @model_validator(mode="after")
    def _has_one_test(self) -> FolderSettings:
        if self.test and self.test_script:
            raise ValueError("test and test_script cannot be combined: name one of them")
        return self

    @field_validator("test_script")
    @classmethod
    def _is_in_the_folder(cls, script: str) -> str:
        path = PurePosixPath(script)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"{script!r} is not a file in the folder")
        return script

    @field_validator("ignore")
    @classmethod
    def _are_patterns(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        try:
            GitIgnoreSpec.from_lines(patterns)
        except ValueError as error:  # pathspec's own class: its text alone is for people
            raise ValueError(str(error)) from None
        return patterns

    def over(self, root: FolderSettings) -> FolderSettings:
        """With what the root's file says where this one says nothing; its name, target and globs are its own."""
        said = self.model_fields_set | {"name", "target", "ignore"}
        if said & TESTS:  # the root's test is another one
            said |= TESTS
        taken = {key: getattr(root, key) for key in root.model_fields_set - said}
        return self.model_copy(update={**taken, "build_args": {**root.build_args, **self.build_args}})

    def files(self, stream: str) -> Iterator[str]:
        """The names that the stream's build file may have, in order; none where the file does not say."""
        for name in self.containerfile.get(stream, self.containerfile.get(ANY, ())):
            yield name.replace("{stream}", stream)

    def streams_of(self, folder: Path, configured: Sequence[str], default: str) -> tuple[str, ...]:
        """The streams that the folder makes an image of."""
        if self.streams:
            return self.streams
        named = tuple(stream for stream in self.containerfile if stream != ANY)
        if named:
            return named
        there: tuple[str, ...] = ()
        if any("{stream}" in name for name in self.containerfile.get(ANY, ())):
            there = tuple(stream for stream in dict.fromkeys([default, *configured]) if self._has(folder, stream))
        return there or (default,)

    def _has(self, folder: Path, stream: str) -> bool:
        """Whether the folder has a build file of the stream."""
        return any((folder / name).is_file() for name in self.files(stream))

    def ignores(self, below: str) -> bool:
        """Whether it leaves out the folder of that path below its own."""
        return bool(self.ignore) and self._spec.match_file(f"{below}/")

    @cached_property
    def _spec(self) -> GitIgnoreSpec:
        # To git `test/**` is all that is in test, and not test itself; an empty folder has no image either.
        folders = [p[:-2] for p in self.ignore if p.endswith("/**") and not p.startswith("!")]
        return GitIgnoreSpec.from_lines([*self.ignore, *(p if p[0] in "/*" else f"/{p}" for p in folders)])

    def care(self, folder: Path) -> Care:
        """What is kept with the images of that folder. Raises RequestError where their test's script is missing."""
        script = (folder / self.test_script).absolute() if self.test_script else None
        if script is not None and not script.is_file():
            raise RequestError(f"{folder}: test_script: {self.test_script} is not a file in the folder")
        seconds = self.test_timeout or 0.0, self.max_age or 0.0
        return Care(self.owners, self.test, *seconds, str(script or ""), self.test_network, self.gate)


class RootSettings(FolderSettings):
    """What the file at the tree's root may say. `registry` is the prefix by which the images name each other."""

    registry: str = ""


def read(folder: Path, text: str) -> FolderSettings:
    """The settings of a folder, from the text of its file. Raises RequestError with file and line."""
    return _read(folder / FILE, text, FolderSettings)


def read_root(folder: Path, text: str) -> RootSettings:
    """The settings of the tree's root. Raises RequestError with file and line."""
    root = _read(folder / FILE, text, RootSettings)
    assert isinstance(root, RootSettings)
    return root


def _read(file: Path, text: str, kind: type[FolderSettings]) -> FolderSettings:
    try:
        return kind.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        match = re.search(r"\(at line (\d+), column \d+\)", str(error))
        line = match[1] if match else max(1, len(text.splitlines()))
        raise RequestError(f"{file}:{line}: not TOML: {error}") from None
    except ValidationError as error:
        place, what = first_fault(error)
        key = ".".join(str(step) for step in place)
        hint = " (it is a key of the file at the tree's root)" if key in RootSettings.model_fields and (
            what == "unknown key") else ""  # fmt: skip
        raise RequestError(f"{file}:{line_of(text, place)}: {key}: {what}{hint}") from None


def line_of(text: str, place: Sequence[str | int]) -> int:
    """The line that sets this key, or of the last step to it that has a line of its own."""
    keys = [str(step) for step in place if not isinstance(step, int)]
    best, depth, table = 1, 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := HEADER.match(line):
            table = _plain(header[1])
        reached = _reached(line, table, keys)
        if reached > depth:
            best, depth = number, reached
    return best


def _reached(line: str, table: str, keys: Sequence[str]) -> int:
    """How many of the keys this line of the table leads to."""
    written = _plain(line.partition("=")[0]) if "=" in line and not HEADER.match(line) else ""
    path = ".".join(filter(None, (table, written)))
    return next((count for count in range(len(keys), 0, -1) if path == ".".join(keys[:count])), 0)


def _plain(key: str) -> str:
    """A dotted key without its quotes and blanks."""
    return ".".join(part.strip().strip("\"'") for part in key.split("."))
