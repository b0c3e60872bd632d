"""What a Containerfile is built on: BuildKit's parser splits it; arguments, aliases and copies are resolved here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from platform import machine
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import LONGEST_SPEC, ParentKind
from rebuilder.inventory.shell_words import expand

# Go's runtime comes with it, with threads of its own: it is for those who read a Containerfile, who import it below.
if TYPE_CHECKING:
    import dockerfile

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386"}
ARCH = ARCHITECTURES.get(machine(), machine())
HERE = f"linux/{ARCH}"
DIRECTIVE = re.compile(r"#\s*(?P<name>[A-Za-z][A-Za-z0-9]*)\s*=\s*(?P<value>.+?)\s*")
# What brings in newer RPMs than the parent has; installing a package does not. With options without an end it had none.
UPGRADE = re.compile(
    r"(?<![\w-])(?:(?:dnf5?|microdnf|yum|tdnf)\s(?:[^;&|]{0,500}?\s)?(?:upgrade|update|distro-sync|upgrade-minimal|update-minimal)(?![\w-])|"
    r"zypper\s(?:[^;&|]{0,500}?\s)?(?:up|update|dup|dist-upgrade|patch)(?![\w-])|"
    r"apt(?:-get)?\s(?:[^;&|]{0,500}?\s)?(?:upgrade|dist-upgrade|full-upgrade)(?![\w-]))"
)
REPLACED = "\ufffd"  # what stands for bytes that are no UTF-8


def platform_arguments(target: str = "") -> dict[str, str]:
    """What BuildKit and buildah predefine for a build on this machine for that platform, which by default is its own.

    See docs.docker.com/reference/dockerfile, "Automatic platform ARGs in the global scope". A stage has them once it
    says so (ARG TARGETARCH).
    """
    arguments = {}
    for of, platform in (("TARGET", target or HERE), ("BUILD", HERE)):
        system, architecture, variant = (*platform.split("/", 2), "", "")[:3]
        parts = {"PLATFORM": platform, "OS": system, "ARCH": architecture, "VARIANT": variant}
        arguments.update({f"{of}{part}": value for part, value in parts.items()})
    return arguments


class Options(Struct, frozen=True):
    """What a build is told beside the file: arguments, the stage to stop at (the last one), and the platform."""

    build_args: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    platform: str = ""


PLAIN = Options()


class Base(Struct, frozen=True):
    """A parent by its name, and where the file has it; `written` is all that FROMs have for it, not filled in."""

    spec: str
    kind: ParentKind
    line: int
    written: tuple[str, ...] = ()


class _Name(Struct, frozen=True):
    """What a FROM or a `from=` names, with its arguments filled in; or why they cannot be."""

    spec: str
    line: int
    fault: str = ""
    written: str = ""


class _Stage(Struct):
    """`environment` is what ENV sets: the defaults of later ARGs may use it; buildah fills in no `from=` with it.

    `platform` is what its FROM asks for in place of the build's own, `run` the line of its first RUN.
    """

    alias: str
    base: _Name
    arguments: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    copies: list[_Name] = field(default_factory=list)
    upgrades: str = ""
    platform: str = ""
    run: int = 0


class Recipe(Struct, frozen=True):
    """What a build of the file takes: its parents, its stages, and the names by which these mean each other.

    `stages` are the numbers of those that are built. `parents` are the images that it is built on, each once, in the
    order of their names' first appearance. `hidden` has the names, in lower case, by which later stages mean an earlier
    stage and not an image. `upgrades` is the first command by which the image upgrades the packages of its parent.
    `runs` is the line of the first RUN that is carried out in an image for the build's platform; 0 is none.
    """

    parents: tuple[Base, ...]
    stages: tuple[int, ...]
    hidden: frozenset[str]
    upgrades: str = ""
    runs: int = 0


def read(text: str, options: Options = PLAIN) -> Recipe:
    """What a build of this file takes. Raises RequestError beginning with the line's number.

    Stages that the target does not need are not built (`--skip-unused-stages`, buildah's default; BuildKit never
    does), and what they name is no parent.
    """
    stages = _stages(text, options)
    if not stages:
        raise RequestError("1: there is no FROM")
    target = _target(stages, options.target)
    final = _root(stages, target)
    needed = _needed(stages, target)
    bases = _bases(stages, needed, final)
    upgrades = next((stages[place].upgrades for place in _line(stages, target) if stages[place].upgrades), "")
    runs = next((stages[place].run for place in needed if stages[place].run and not _is_native(stages, place)), 0)
    return Recipe(tuple(bases.values()), tuple(needed), _hidden(stages), upgrades, runs)


def parents(text: str, options: Options = PLAIN) -> tuple[Base, ...]:
    """The images that this file is built on. Raises as `read`."""
    return read(text, options).parents


def _bases(stages: list[_Stage], needed: list[int], final: int) -> dict[str, Base]:
    """What the needed stages are built on, by name; `final` is the one whose FROM is the image's base."""
    bases: dict[str, Base] = {}
    for place in needed:
        stage = stages[place]
        kind = ParentKind.BASE if place == final else ParentKind.STAGE
        if _below(stages, place) is None:
            _add(bases, Base(stage.base.spec, kind, stage.base.line, (stage.base.written,)))
        for copied in stage.copies:
            if _earlier(stages, copied.spec, place) is None:
                _add(bases, Base(copied.spec, ParentKind.STAGE, copied.line))
    return bases


def _is_native(stages: list[_Stage], place: int) -> bool:
    """Whether the stage is built for this machine, whatever the build is for (FROM --platform=$BUILDPLATFORM)."""
    return stages[_root(stages, place)].platform == HERE


def _target(stages: list[_Stage], name: str) -> int:
    """The place of the stage to stop at: the last one, or that of the name or number. Raises RequestError."""
    if not name:
        return len(stages) - 1
    place = _earlier(stages, name, len(stages))
    if place is None:
        aliases = ", ".join(stage.alias for stage in stages if stage.alias) or "none has a name"
        raise RequestError(f"1: there is no stage {name} to stop at; there are: {aliases}")
    return place


def _needed(stages: list[_Stage], target: int) -> list[int]:
    """The places of the target, and of those that it is built on or copies from. Raises RequestError."""
    pending, needed = [target], set[int]()
    while pending:
        place = pending.pop()
        if place in needed:
            continue
        needed.add(place)
        for name in (stages[place].base, *stages[place].copies):
            if name.fault:
                raise RequestError(f"{name.line}: {name.fault}")
        copied = (_earlier(stages, name.spec, place) for name in stages[place].copies)
        pending += [stage for stage in (_below(stages, place), *copied) if stage is not None]
    return sorted(needed)


def _hidden(stages: list[_Stage]) -> frozenset[str]:
    names = {stage.base.spec for place, stage in enumerate(stages) if _below(stages, place) is not None}
    for place, stage in enumerate(stages):
        names |= {name.spec for name in stage.copies if _earlier(stages, name.spec, place) is not None}
    return frozenset(name.lower() for name in names)


def _add(bases: dict[str, Base], base: Base) -> None:
    if base.spec.startswith("-"):  # a command that it is handed to would take it for an option
        raise RequestError(f"{base.line}: an image's name cannot begin with -: {base.spec}")
    if REPLACED in base.spec:
        raise RequestError(f"{base.line}: an image's name that is not UTF-8 text: {base.spec}")
    if len(base.spec) > LONGEST_SPEC:
        raise RequestError(f"{base.line}: an image's name of more than {LONGEST_SPEC} characters: {base.spec[:60]}…")
    earlier = bases.get(base.spec)
    if earlier is not None:
        first = base if base.kind is ParentKind.BASE else earlier
        bases[base.spec] = replace(first, written=(*earlier.written, *base.written))
    elif base.spec != "scratch":
        bases[base.spec] = base


def _line(stages: list[_Stage], place: int) -> Iterator[int]:
    """The stage, and those below it whose packages it has: what is only copied from has none to upgrade."""
    below: int | None = place
    while below is not None:
        yield below
        below = _below(stages, below)


def _root(stages: list[_Stage], place: int) -> int:
    """The stage whose FROM is the image below the stage `place`, followed through aliases."""
    while (below := _below(stages, place)) is not None:
        place = below
    return place


def _below(stages: list[_Stage], place: int) -> int | None:
    """The stage that the FROM of this one names: a number is that of one without an alias, as buildah has it."""
    name = stages[place].base.spec
    index = _earlier(stages, name, place)
    return None if index is not None and name.isdecimal() and stages[index].alias else index


def _earlier(stages: list[_Stage], name: str, before: int) -> int | None:
    """The stage of that alias or number, among those before `before`; the last of an alias counts."""
    if name.isdecimal():
        return int(name) if int(name) < before else None
    return next((at for at in reversed(range(before)) if stages[at].alias == name.lower()), None)


def _stages(text: str, options: Options) -> list[_Stage]:
    reader = _Reader(options, _escape(text))
    for command in _commands(text):
        reader.take(command)
    return reader.stages


class _Reader:
    """Takes in one instruction after another. `outside` has the arguments of before the first FROM."""

    def __init__(self, options: Options, escape: str) -> None:
        self.stages: list[_Stage] = []
        self._given = options.build_args
        self._escape = escape
        predefined = platform_arguments(options.platform)
        self._outside = {**predefined, **{name: self._given[name] for name in predefined.keys() & self._given.keys()}}

    def take(self, command: dockerfile.Command) -> None:
        """Raises RequestError for what is no instruction."""
        word, line = command.cmd.upper(), command.start_line
        if word == "FROM":
            self._from(command)
        elif word == "ARG":
            self._arg(command)
        elif word not in _instructions():
            raise RequestError(f"{line}: unknown instruction {command.cmd}")
        elif self.stages:
            self._in_stage(self.stages[-1], word, command)

    def _in_stage(self, stage: _Stage, word: str, command: dockerfile.Command) -> None:
        line = command.start_line
        if word == "ENV":
            before = stage.arguments | stage.environment
            pairs = zip(command.value[::2], command.value[1::2], strict=True)
            stage.environment |= {name: self._value(value, before, line) for name, value in pairs}
            return
        if word == "RUN":
            stage.run = stage.run or line
            stage.upgrades = stage.upgrades or _upgrade(command.original)
        stage.copies += [self._copied(spec, stage.arguments, line) for spec in _froms(command.flags)]

    def _arg(self, command: dockerfile.Command) -> None:
        arguments = self.stages[-1].arguments if self.stages else self._outside
        environment = self.stages[-1].environment if self.stages else {}
        for item in command.value:
            name, given, default = item.partition("=")
            if name in self._given:
                arguments[name] = self._given[name]
            elif given:
                arguments[name] = self._value(default, arguments | environment, command.start_line)
            elif self.stages and name in self._outside:
                arguments[name] = self._outside[name]

    def _from(self, command: dockerfile.Command) -> None:
        line, words = command.start_line, command.value
        if len(words) not in (1, 3) or (len(words) == 3 and words[1].upper() != "AS"):
            raise RequestError(f"{line}: FROM needs an image, or an image AS a name")
        alias = words[2].lower() if len(words) == 3 else ""
        written = next((flag.partition("=")[2] for flag in command.flags if flag.startswith("--platform=")), "")
        platform = self._value(written, self._outside, line)
        self.stages.append(_Stage(alias, self._base(words[0], line), platform=platform))

    def _base(self, written: str, line: int) -> _Name:
        name = self._filled_in(written, self._outside, line)
        if not name.fault and (not name.spec or name.spec.endswith(":")):
            return _Name("", line, f"FROM {written}: no image is left when its arguments are filled in")
        return name

    def _copied(self, written: str, arguments: Mapping[str, str], line: int) -> _Name:
        name = self._filled_in(written, arguments, line)
        return name if name.fault or name.spec else _Name("", line, f"from={written}: it names no image and no stage")

    def _filled_in(self, written: str, arguments: Mapping[str, str], line: int) -> _Name:
        """A stage that is not needed may name what it likes: what is wrong with a name is told where that is used."""
        try:
            return _Name(expand(written, arguments, line, escape=self._escape), line, written=written)
        except RequestError as error:
            return _Name("", line, str(error).partition(": ")[2])

    def _value(self, written: str, arguments: Mapping[str, str], line: int) -> str:
        return expand(written, arguments, line, lenient=True, escape=self._escape)


def _upgrade(written: str) -> str:
    """The part of a RUN that upgrades packages; "" where none does."""
    text = re.sub(r"\\\s*\n|[\"',\[\]]", " ", written)
    match = UPGRADE.search(text)
    return " ".join(match[0].split()) if match else ""


def _escape(text: str) -> str:
    """The character that `# escape=` names, in one of the directives before all else."""
    for line in text.splitlines():
        directive = DIRECTIVE.fullmatch(line.strip())
        if directive is None:
            break
        if directive["name"].lower() == "escape":
            return directive["value"]
    return "\\"


@cache
def _instructions() -> frozenset[str]:
    import dockerfile

    return frozenset(word.upper() for word in dockerfile.all_cmds())


def _commands(text: str) -> tuple[dockerfile.Command, ...]:
    import dockerfile

    try:
        commands: tuple[dockerfile.Command, ...] = dockerfile.parse_string(text)
    except dockerfile.GoParseError as error:
        match = re.search(r"line (\d+)", str(error))
        raise RequestError(f"{match[1] if match else 1}: does not parse: {error}") from None
    return commands


def _froms(flags: tuple[str, ...]) -> Iterator[str]:
    """The images of `--from=` (COPY, ADD) and of `--mount=…,from=` (RUN)."""
    for flag in flags:
        name, _, value = flag.partition("=")
        if name == "--from":
            yield value
        elif name == "--mount":
            parts = (part.strip().partition("=") for part in value.strip("\"'").split(","))
            yield from (spec for key, _, spec in parts if key == "from")
