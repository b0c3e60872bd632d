"""The stages of a Containerfile: BuildKit's parser splits it into instructions; their arguments are filled in here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING

from msgspec import Struct, field

from rebuilder.domain.errors import RequestError
from rebuilder.inventory.platforms import platform_arguments
from rebuilder.inventory.shell_words import expand

# Go's runtime comes with it, with threads of its own: it is for those who read a Containerfile, who import it below.
if TYPE_CHECKING:
    import dockerfile

DIRECTIVE = re.compile(r"#\s*(?P<name>[A-Za-z][A-Za-z0-9]*)\s*=\s*(?P<value>.+?)\s*")
# What brings in newer RPMs than the parent has; installing a package does not. With options without an end it had none.
UPGRADE = re.compile(
    r"(?<![\w-])(?:(?:dnf5?|microdnf|yum|tdnf)\s(?:[^;&|]{0,500}?\s)?(?:upgrade|update|distro-sync|upgrade-minimal|update-minimal)(?![\w-])|"
    r"zypper\s(?:[^;&|]{0,500}?\s)?(?:up|update|dup|dist-upgrade|patch)(?![\w-])|"
    r"apt(?:-get)?\s(?:[^;&|]{0,500}?\s)?(?:upgrade|dist-upgrade|full-upgrade)(?![\w-]))"
)


class Options(Struct, frozen=True):
    """What a build is told beside the file: arguments, the stage to stop at (the last one), and the platform."""

    build_args: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    platform: str = ""


PLAIN = Options()


class Name(Struct, frozen=True):
    """What a FROM or a `from=` names, with its arguments filled in; or why they cannot be."""

    spec: str
    line: int
    fault: str = ""
    written: str = ""


class Stage(Struct):
    """A FROM, and what comes after it until the next one.

    `environment` is what ENV sets: the defaults of later ARGs may use it; buildah fills in no `from=` with it.
    `platform` is what its FROM asks for in place of the build's own, `run` the line of its first RUN.
    """

    alias: str
    base: Name
    arguments: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    copies: list[Name] = field(default_factory=list)
    upgrades: str = ""
    platform: str = ""
    run: int = 0


def stages_of(text: str, options: Options) -> list[Stage]:
    """The stages of the file. Raises RequestError beginning with the line's number."""
    reader = _Reader(options, _escape(text))
    for command in _commands(text):
        reader.take(command)
    return reader.stages


class _Reader:
    """Takes in one instruction after another. `outside` has the arguments of before the first FROM."""

    def __init__(self, options: Options, escape: str) -> None:
        self.stages: list[Stage] = []
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

    def _in_stage(self, stage: Stage, word: str, command: dockerfile.Command) -> None:
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
        self.stages.append(Stage(alias, self._base(words[0], line), platform=platform))

    def _base(self, written: str, line: int) -> Name:
        name = self._filled_in(written, self._outside, line)
        if not name.fault and (not name.spec or name.spec.endswith(":")):
            return Name("", line, f"FROM {written}: no image is left when its arguments are filled in")
        return name

    def _copied(self, written: str, arguments: Mapping[str, str], line: int) -> Name:
        name = self._filled_in(written, arguments, line)
        return name if name.fault or name.spec else Name("", line, f"from={written}: it names no image and no stage")

    def _filled_in(self, written: str, arguments: Mapping[str, str], line: int) -> Name:
        """A stage that is not needed may name what it likes: what is wrong with a name is told where that is used."""
        try:
            return Name(expand(written, arguments, line, escape=self._escape), line, written=written)
        except RequestError as error:
            return Name("", line, str(error).partition(": ")[2])

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
