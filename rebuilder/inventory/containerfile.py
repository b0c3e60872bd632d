"""What a Containerfile is built on: BuildKit's parser splits it; arguments, aliases and copies are resolved here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from platform import machine

import dockerfile

from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import ParentKind

INSTRUCTIONS = frozenset(word.upper() for word in dockerfile.all_cmds())
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386"}
ARCH = ARCHITECTURES.get(machine(), machine())
# What BuildKit and buildah predefine where nothing is cross-built: docs.docker.com/reference/dockerfile, "Automatic
# platform ARGs in the global scope". A stage has them once it says so (ARG TARGETARCH).
PLATFORM = {
    f"{of}{part}": value
    for of in ("TARGET", "BUILD")
    for part, value in (("PLATFORM", f"linux/{ARCH}"), ("OS", "linux"), ("ARCH", ARCH), ("VARIANT", ""))
}
VARIABLE = re.compile(r"\\\$|\$(?:(\w+)|\{(\w+)(?:(:?[-+])((?:[^{}]|\{[^{}]*\})*))?\})|\$\{")


@dataclass(frozen=True, slots=True)
class Base:
    """A parent as the file names it, and where it does."""

    spec: str
    kind: ParentKind
    line: int


@dataclass(frozen=True, slots=True)
class _Name:
    """What a FROM or a `from=` names, with its arguments filled in; or why they cannot be."""

    spec: str
    line: int
    fault: str = ""


@dataclass(slots=True)
class _Stage:
    alias: str
    base: _Name
    arguments: dict[str, str]
    copies: list[_Name] = field(default_factory=list)


def parents(text: str, build_args: Mapping[str, str] | None = None) -> tuple[Base, ...]:
    """The images that this file is built on, each once, in the order of their names' first appearance.

    Stages that the last one does not need are not built (`--skip-unused-stages`, buildah's default; BuildKit never
    does), and what they name is no parent. Raises RequestError beginning with the line's number.
    """
    stages = _stages(text, dict(build_args or {}))
    if not stages:
        raise RequestError("1: there is no FROM")
    needed = _needed(stages)
    final = _root(stages, len(stages) - 1)
    found: dict[str, Base] = {}
    for place in needed:
        stage = stages[place]
        kind = ParentKind.BASE if place == final else ParentKind.STAGE
        if _earlier(stages, stage.base.spec, place) is None:
            _add(found, Base(stage.base.spec, kind, stage.base.line))
        for copied in stage.copies:
            if _earlier(stages, copied.spec, place) is None:
                _add(found, Base(copied.spec, ParentKind.STAGE, copied.line))
    return tuple(found.values())


def _needed(stages: list[_Stage]) -> list[int]:
    """The places of the last stage, and of those that it is built on or copies from. Raises RequestError."""
    wanted, needed = [len(stages) - 1], set[int]()
    while wanted:
        place = wanted.pop()
        if place in needed:
            continue
        needed.add(place)
        for name in (stages[place].base, *stages[place].copies):
            if name.fault:
                raise RequestError(f"{name.line}: {name.fault}")
            if (earlier := _earlier(stages, name.spec, place)) is not None:
                wanted.append(earlier)
    return sorted(needed)


def hidden(text: str, build_args: Mapping[str, str] | None = None) -> frozenset[str]:
    """The names, in lower case, by which later stages mean an earlier stage and not an image. Raises as `parents`."""
    stages = _stages(text, dict(build_args or {}))
    return frozenset(
        name.lower()
        for place, stage in enumerate(stages)
        for name in (stage.base.spec, *(copied.spec for copied in stage.copies))
        if _earlier(stages, name, place) is not None
    )


def _add(found: dict[str, Base], base: Base) -> None:
    if base.spec.startswith("-"):  # a command that it is handed to would take it for an option
        raise RequestError(f"{base.line}: an image's name cannot begin with -: {base.spec}")
    known = found.get(base.spec)
    if base.spec != "scratch" and (known is None or base.kind is ParentKind.BASE):
        found[base.spec] = base


def _root(stages: list[_Stage], place: int) -> int:
    """The stage whose FROM is the image below the stage `place`, followed through aliases."""
    while (earlier := _earlier(stages, stages[place].base.spec, place)) is not None:
        place = earlier
    return place


def _earlier(stages: list[_Stage], name: str, before: int) -> int | None:
    """The stage of that alias or number, among those before `before`; the last of an alias counts."""
    if name.isdecimal():
        return int(name) if int(name) < before else None
    return next((at for at in reversed(range(before)) if stages[at].alias == name.lower()), None)


def _stages(text: str, build_args: dict[str, str]) -> list[_Stage]:
    outside: dict[str, str] = {**PLATFORM, **{name: build_args[name] for name in PLATFORM.keys() & build_args.keys()}}
    stages: list[_Stage] = []
    for command in _commands(text):
        word, line = command.cmd.upper(), command.start_line
        if word == "FROM":
            stages.append(_stage(command, outside))
        elif word == "ARG":
            known = stages[-1].arguments if stages else outside
            for item in command.value:
                name, given, default = item.partition("=")
                if name in build_args:
                    known[name] = build_args[name]
                elif given:
                    known[name] = expand(unquoted(default), known, line, lenient=True)
                elif stages and name in outside:
                    known[name] = outside[name]
        elif word not in INSTRUCTIONS:
            raise RequestError(f"{line}: unknown instruction {command.cmd}")
        elif word == "ENV" and stages:
            for name, value in zip(command.value[::3], command.value[1::3], strict=False):
                stages[-1].arguments[name] = expand(unquoted(value), stages[-1].arguments, line, lenient=True)
        elif stages:
            stages[-1].copies += [_copied(spec, stages[-1].arguments, line) for spec in _froms(command.flags)]
    return stages


def _commands(text: str) -> tuple[dockerfile.Command, ...]:
    try:
        commands: tuple[dockerfile.Command, ...] = dockerfile.parse_string(text)
    except dockerfile.GoParseError as error:
        found = re.search(r"line (\d+)", str(error))
        raise RequestError(f"{found[1] if found else 1}: does not parse: {error}") from None
    return commands


def _stage(command: dockerfile.Command, arguments: Mapping[str, str]) -> _Stage:
    line, words = command.start_line, command.value
    if len(words) not in (1, 3) or (len(words) == 3 and words[1].upper() != "AS"):
        raise RequestError(f"{line}: FROM needs an image, or an image AS a name")
    return _Stage(words[2].lower() if len(words) == 3 else "", _base(unquoted(words[0]), arguments, line), {})


def _base(written: str, arguments: Mapping[str, str], line: int) -> _Name:
    name = _filled_in(written, arguments, line)
    if not name.fault and (not name.spec or name.spec.endswith(":")):
        return _Name("", line, f"FROM {written}: no image is left when its arguments are filled in")
    return name


def _copied(written: str, arguments: Mapping[str, str], line: int) -> _Name:
    name = _filled_in(written, arguments, line)
    return name if name.fault or name.spec else _Name("", line, f"from={written}: it names no image and no stage")


def _filled_in(written: str, arguments: Mapping[str, str], line: int) -> _Name:
    """A stage that is not needed may name what it likes: what is wrong with a name is told where that is used."""
    try:
        return _Name(expand(written, arguments, line), line)
    except RequestError as error:
        return _Name("", line, str(error).partition(": ")[2])


def _froms(flags: tuple[str, ...]) -> Iterator[str]:
    """The images of `--from=` (COPY, ADD) and of `--mount=…,from=` (RUN)."""
    for flag in flags:
        name, _, value = flag.partition("=")
        if name == "--from":
            yield unquoted(value)
        elif name == "--mount":
            for part in value.split(","):
                if part.startswith("from="):
                    yield unquoted(part.removeprefix("from="))


def unquoted(value: str) -> str:
    """The value without the quotes around it."""
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value


def expand(text: str, arguments: Mapping[str, str], line: int, *, lenient: bool = False) -> str:
    """Fill in `$V`, `${V}`, `${V:-default}` and `${V:+other}`, as BuildKit does.

    Raises RequestError for a variable without a value, unless `lenient`: then it is empty.
    """

    def value(match: re.Match[str]) -> str:
        if match[0] == "\\$":
            return "$"
        if match[0] == "${":
            if lenient:
                return match[0]
            raise RequestError(f"{line}: {text}: only $V, ${{V}}, ${{V:-default}} and ${{V:+other}} are understood")
        name, operator, word = match[1] or match[2], match[3], match[4] or ""
        known = arguments.get(name)
        is_set = bool(known) if operator and operator.startswith(":") else known is not None
        if operator and operator.endswith("+"):
            return expand(word, arguments, line, lenient=lenient) if is_set else ""
        if is_set:
            return known or ""
        if operator or lenient:
            return expand(word, arguments, line, lenient=lenient)
        raise RequestError(f"{line}: {text}: {name} has no value; it needs an ARG with a default or in build_args")

    return VARIABLE.sub(value, text)
