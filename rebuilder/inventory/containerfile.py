"""What a Containerfile is built on: BuildKit's parser splits it; arguments, aliases and copies are resolved here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import dockerfile

from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import ParentKind

INSTRUCTIONS = frozenset(word.upper() for word in dockerfile.all_cmds())
VARIABLE = re.compile(r"\\\$|\$(?:(\w+)|\{(\w+)(?:(:?[-+])((?:[^{}]|\{[^{}]*\})*))?\})|\$\{")


@dataclass(frozen=True, slots=True)
class Base:
    """A parent as the file names it, and where it does."""

    spec: str
    kind: ParentKind
    line: int


@dataclass(slots=True)
class _Stage:
    alias: str
    base: str
    line: int
    arguments: dict[str, str]
    copies: list[tuple[str, int]] = field(default_factory=list)


def parents(text: str, build_args: Mapping[str, str] | None = None) -> tuple[Base, ...]:
    """The images that this file is built on, each once, in the order of their names' first appearance.

    Raises RequestError beginning with the line's number.
    """
    stages = _stages(text, dict(build_args or {}))
    if not stages:
        raise RequestError("1: there is no FROM")
    final = _root(stages, len(stages) - 1)
    found: dict[str, Base] = {}
    for place, stage in enumerate(stages):
        kind = ParentKind.BASE if place == final else ParentKind.STAGE
        if _earlier(stages, stage.base, place) is None:
            _add(found, Base(stage.base, kind, stage.line))
        for spec, line in stage.copies:
            if _earlier(stages, spec, place) is None:
                _add(found, Base(spec, ParentKind.STAGE, line))
    return tuple(found.values())


def hidden(text: str, build_args: Mapping[str, str] | None = None) -> frozenset[str]:
    """The names, in lower case, by which later stages mean an earlier stage and not an image. Raises as `parents`."""
    stages = _stages(text, dict(build_args or {}))
    return frozenset(
        name.lower()
        for place, stage in enumerate(stages)
        for name in (stage.base, *(spec for spec, _ in stage.copies))
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
    while (earlier := _earlier(stages, stages[place].base, place)) is not None:
        place = earlier
    return place


def _earlier(stages: list[_Stage], name: str, before: int) -> int | None:
    """The stage of that alias or number, among those before `before`; the last of an alias counts."""
    if name.isdecimal():
        return int(name) if int(name) < before else None
    return next((at for at in reversed(range(before)) if stages[at].alias == name.lower()), None)


def _stages(text: str, build_args: dict[str, str]) -> list[_Stage]:
    outside: dict[str, str] = {}
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
                    known[name] = expand(unquoted(default), known, line)
                elif stages and name in outside:
                    known[name] = outside[name]
        elif word not in INSTRUCTIONS:
            raise RequestError(f"{line}: unknown instruction {command.cmd}")
        elif word == "ENV" and stages:
            for name, value in zip(command.value[::3], command.value[1::3], strict=False):
                stages[-1].arguments[name] = expand(unquoted(value), stages[-1].arguments, line, lenient=True)
        elif stages:
            stages[-1].copies += [(expand(spec, stages[-1].arguments, line), line) for spec in _froms(command.flags)]
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
    base = expand(unquoted(words[0]), arguments, line)
    if not base or base.endswith(":"):
        raise RequestError(f"{line}: FROM {words[0]}: no image is left when its arguments are filled in")
    return _Stage(words[2].lower() if len(words) == 3 else "", base, line, {})


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
