"""What a Containerfile is built on: which of its stages are, and what these name by FROM and by copies."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import LONGEST_SPEC, ParentKind
from rebuilder.inventory.containerfile_stages import PLAIN, Options, Stage, stages_of
from rebuilder.inventory.platforms import HERE

REPLACED = "\ufffd"  # what stands for bytes that are no UTF-8


class Base(Struct, frozen=True):
    """A parent by its name, and where the file has it; `written` is all that FROMs have for it, not filled in."""

    spec: str
    kind: ParentKind
    line: int
    written: tuple[str, ...] = ()


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
    stages = stages_of(text, options)
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


def _bases(stages: list[Stage], needed: list[int], final: int) -> dict[str, Base]:
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


def _is_native(stages: list[Stage], place: int) -> bool:
    """Whether the stage is built for this machine, whatever the build is for (FROM --platform=$BUILDPLATFORM)."""
    return stages[_root(stages, place)].platform == HERE


def _target(stages: list[Stage], name: str) -> int:
    """The place of the stage to stop at: the last one, or that of the name or number. Raises RequestError."""
    if not name:
        return len(stages) - 1
    place = _earlier(stages, name, len(stages))
    if place is None:
        aliases = ", ".join(stage.alias for stage in stages if stage.alias) or "none has a name"
        raise RequestError(f"1: there is no stage {name} to stop at; there are: {aliases}")
    return place


def _needed(stages: list[Stage], target: int) -> list[int]:
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


def _hidden(stages: list[Stage]) -> frozenset[str]:
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


def _line(stages: list[Stage], place: int) -> Iterator[int]:
    """The stage, and those below it whose packages it has: what is only copied from has none to upgrade."""
    below: int | None = place
    while below is not None:
        yield below
        below = _below(stages, below)


def _root(stages: list[Stage], place: int) -> int:
    """The stage whose FROM is the image below the stage `place`, followed through aliases."""
    while (below := _below(stages, place)) is not None:
        place = below
    return place


def _below(stages: list[Stage], place: int) -> int | None:
    """The stage that the FROM of this one names: a number is that of one without an alias, as buildah has it."""
    name = stages[place].base.spec
    index = _earlier(stages, name, place)
    return None if index is not None and name.isdecimal() and stages[index].alias else index


def _earlier(stages: list[Stage], name: str, before: int) -> int | None:
    """The stage of that alias or number, among those before `before`; the last of an alias counts."""
    if name.isdecimal():
        return int(name) if int(name) < before else None
    return next((at for at in reversed(range(before)) if stages[at].alias == name.lower()), None)
