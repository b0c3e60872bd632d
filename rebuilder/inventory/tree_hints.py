"""Hints to those who own a folder tree: what of it was not read, and what may be meant otherwise."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from rebuilder.domain.image import Image
from rebuilder.inventory.tree_naming import REGISTRY, Naming
from rebuilder.inventory.tree_settings import FILE
from rebuilder.inventory.tree_walk import Walked

SHOWN = 3


def not_read(tree: Path, walked: Walked) -> Iterator[str]:
    """What of the tree was not read."""
    if walked.nameless:
        names = _few(walked.nameless)
        yield f"{tree}: folders are not read whose names are not UTF-8 text: {names}; rename them"
    if walked.links:
        count = len(walked.links)
        yield f"{tree}: {count} link{_s(count)} to folders not followed: {_few(walked.links)}"


def _few(items: Sequence[str]) -> str:
    return ", ".join(items[:SHOWN]) + (", …" if len(items) > SHOWN else "")


def left_aside(others: Sequence[str]) -> str:
    """What is said of build files whose names are not looked for."""
    if not others:
        return ""
    name, count = Path(others[0]).name, len(others)
    return (
        f": {count} build file{_s(count)} of other names left aside ({_few(others)}): name them Containerfile, or say "
        f'how they are called in a {FILE} beside them or at the root of the tree: containerfile = "{name}"'
    )


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def look_alikes(images: Sequence[Image], names: Mapping[str, Collection[str]]) -> Iterator[str]:
    """Parents of somebody else that are called like a folder of the tree: they may be meant to be that image."""
    by_advice: dict[str, list[str]] = {}
    for image in images:
        for parent in image.parents:
            prefix, name = _split(parent.external)
            if name in names and name != image.name:
                advice = f'set registry = "{prefix}" in the {FILE} at its root' if prefix else (
                    f"name it {' or '.join(f'{name}:{stream}' for stream in names[name])}")  # fmt: skip
                by_advice.setdefault(advice, []).append(f"{image.name} on {parent.external}")
    for advice, pairs in by_advice.items():
        yield f"{_few(pairs)}: external, though a folder of the tree has that name; if that is meant, {advice}"


def _split(spec: str) -> tuple[str, str]:
    """What stands before the name in a pull spec, and the name without its tag and digest."""
    prefix, _, last = spec.removeprefix(REGISTRY).rpartition("/")
    return prefix, last.partition("@")[0].partition(":")[0]


def lost(images: Sequence[Image], naming: Naming, keys: Collection[str]) -> Iterator[str]:
    """Parents that were images of the tree, and are somebody else's images now that their folders are gone."""
    gone = {key for of_folder in naming.known.values() for key in of_folder} - set(keys)
    if not gone:
        return
    of_stream = cache(lambda stream: {spec: key for key in gone for spec in naming.specs(key, stream)})
    for image in images:
        specs = of_stream(image.stream)
        for parent in image.parents:
            key = specs.get(parent.external, image.key)
            if key != image.key:
                yield (
                    f"{image.key} is now built on the external {parent.external}: {key} was an image of the tree, "
                    "and its folder is gone"
                )
