"""A folder tree of Containerfiles and Dockerfiles: every folder that has one is an image."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import Fault, Image, Parent, Source
from rebuilder.inventory.containerfile import Base, parents

NAMES = ("Containerfile", "Dockerfile")
OTHERS = re.compile(
    r"(?:containerfile|dockerfile)[._-](?!.*ignore$)[\w.-]+|[\w.-]+[._-](?:containerfile|dockerfile)", re.IGNORECASE
)
LOCAL = "localhost/"
LARGEST = 1_000_000  # bytes of a Containerfile


@dataclass(frozen=True, slots=True)
class Tree:
    """The images of a folder tree, in the order of their folders; those whose files could not be read; and hints.

    A hint tells people of what may be meant otherwise.
    """

    images: tuple[Image, ...]
    faults: tuple[Fault, ...]
    hints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Naming:
    """How images of a tree are called.

    `known` has the names that folders have already, by their paths: they stay, whatever other folders appear. With
    `registry`, the prefix under which the images are published, REGISTRY/NAME is an image of the tree.
    """

    stream: str
    known: Mapping[str, str] = field(default_factory=dict)
    registry: str = ""

    def specs(self, name: str) -> Iterator[str]:
        """All that a Containerfile of the tree may call the image."""
        prefixes = ("", LOCAL, *([f"{self.registry.rstrip('/')}/"] if self.registry else []))
        for prefix, suffix in product(prefixes, ("", ":latest", f":{self.stream}")):
            yield f"{prefix}{name}{suffix}"


def read(folder: Path, stream: str, build_args: Mapping[str, str] | None = None) -> tuple[Image, ...]:
    """The images of the tree. Raises RequestError with file and line for the first that cannot be read."""
    tree = scan(folder, Naming(stream), build_args)
    if tree.faults:
        raise RequestError(tree.faults[0].told)
    return tree.images


def scan(folder: Path, naming: Naming, build_args: Mapping[str, str] | None = None) -> Tree:
    """The images of the tree; a file that is wrong spoils no other. Raises RequestError where there is no tree.

    An image is named as its folder; where two folders have one name, by their paths in the tree. Raises RequestError,
    naming both, where two folders would still make one image.
    """
    files, others = _files(folder)
    if not files:
        raise RequestError(f"{folder}: no Containerfile or Dockerfile in it{_left_aside(others)}")
    names = _names(folder, files, naming.known)
    local = {spec: name for name in names.values() for spec in naming.specs(name)}
    images, faults = [], []
    for file in files:
        try:
            images.append(_image(file, folder, names[file], naming.stream, local, build_args))
        except RequestError as error:
            faults.append(Fault(f"{names[file]}:{naming.stream}", str(error)))
    hints = [f"{folder}{_left_aside(others)}"] if others else []
    return Tree(tuple(images), tuple(faults), (*hints, *_look_alikes(images, set(names.values()))))


def _left_aside(others: Sequence[Path]) -> str:
    """What is said of build files whose names are not looked for."""
    if not others:
        return ""
    first = ", ".join(str(file) for file in others[:3]) + (", …" if len(others) > 3 else "")
    return f": {len(others)} build files of other names are left aside ({first}): name them Containerfile"


def _look_alikes(images: Sequence[Image], names: Container[str]) -> Iterator[str]:
    """Parents of somebody else that are called like a folder of the tree: they may be meant to be that image."""
    found: dict[str, list[str]] = {}
    for image in images:
        for parent in image.parents:
            prefix, _, last = (parent.external or "").rpartition("/")
            name = last.partition("@")[0].partition(":")[0]
            if prefix and name in names and name != image.name:
                found.setdefault(prefix, []).append(f"{image.name} on {parent.external}")
    for prefix, pairs in found.items():
        told = f"{', '.join(pairs[:3])}{', …' if len(pairs) > 3 else ''}"
        yield f'{told}: external, though a folder has that name; if it is meant, set inventory.registry = "{prefix}"'


def tag(image: Image) -> str:
    """The name that the image has in this machine's storage."""
    return f"{LOCAL}{image.name}:{image.stream}"


def text_of(file: Path, tree: Path) -> str:
    """The text of a file of the tree. Raises RequestError, which repeats nothing of it, and UnicodeDecodeError.

    What is no plain file (a FIFO would be waited for, a device has no end), and what a link leads to out of the tree,
    is not read: whoever may write into the tree may not read everything that we may.
    """
    try:
        real = file.resolve(strict=True)
        if not real.is_relative_to(tree.resolve(strict=True)):
            raise RequestError(f"{file}: a link that leads out of {tree}")
        opened = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(opened, "rb") as stream:
            if not stat.S_ISREG(os.fstat(opened).st_mode):
                raise RequestError(f"{file}: not a plain file")
            content = stream.read(LARGEST + 1)
    except RuntimeError:  # Python 3.11 and 3.12 say so of links that lead to each other
        raise RequestError(f"{file}: a link that leads to itself") from None
    except OSError as error:
        raise RequestError(f"{file}: {error.strerror or error}") from None
    if len(content) > LARGEST:
        raise RequestError(f"{file}: larger than {LARGEST} bytes")
    return content.decode("utf-8")


def _files(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files that are looked for, and those that have names like theirs."""
    if not folder.is_dir():
        raise RequestError(f"{folder}: not a folder")

    def unreadable(error: OSError) -> None:
        raise RequestError(f"{error.filename}: {error.strerror}")

    found, others = [], []
    for at, folders, files in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        name = next((name for name in NAMES if name in files), None)
        if name is not None:
            found.append(Path(at) / name)
        others += [Path(at) / file for file in files if OTHERS.fullmatch(file)]
    return sorted(found), sorted(others)


def _names(folder: Path, files: Sequence[Path], known: Mapping[str, str]) -> dict[Path, str]:
    names = {file: known[place] for file in files if (place := str(file.parent.resolve())) in known}
    short = {file: _short(folder, file) for file in files if file not in names}
    often = Counter([*names.values(), *short.values()])
    names |= {file: name if often[name] == 1 else _long(folder, file) or name for file, name in short.items()}
    makers: dict[str, Path] = {}
    for file, name in names.items():
        if name in makers:
            both = " and ".join(str(maker.parent) for maker in sorted((makers[name], file)))
            raise RequestError(f"{both} would both be the image {name}: rename one of the folders")
        makers[name] = file
    return names


def _short(folder: Path, file: Path) -> str:
    return (file.parent if file.parent != folder else folder.resolve()).name.lower()


def _long(folder: Path, file: Path) -> str:
    return "-".join(file.parent.relative_to(folder).parts).lower()


def _image(
    file: Path, tree: Path, name: str, stream: str, local: Mapping[str, str], build_args: Mapping[str, str] | None
) -> Image:
    try:
        text = text_of(file, tree)
    except UnicodeDecodeError:
        raise RequestError(f"{file}: not UTF-8 text") from None
    try:
        known = tuple(_parent(base, name, stream, local) for base in parents(text, build_args))
    except RequestError as error:
        raise RequestError(f"{file}:{error}") from None
    return Image(name, stream, known, Source(path=str(file.parent.resolve()), containerfile=file.name))


def _parent(base: Base, of: str, stream: str, local: Mapping[str, str]) -> Parent:
    """A folder `nginx` whose file says FROM nginx is built on somebody else's nginx: it cannot mean itself."""
    name = local.get(base.spec)
    if name is not None and (name != of or base.spec.startswith(LOCAL)):
        return Parent(base.kind, f"{name}:{stream}")
    if base.spec.startswith(LOCAL):
        raise RequestError(f"{base.line}: unknown parent {base.spec}: no folder of the tree makes it")
    return Parent(base.kind, external=base.spec)
