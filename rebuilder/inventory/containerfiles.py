"""A folder tree of Containerfiles and Dockerfiles: every folder that has one is an image."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import Image, Parent, Source
from rebuilder.inventory.containerfile import Base, parents

NAMES = ("Containerfile", "Dockerfile")
LOCAL = "localhost/"
LARGEST = 1_000_000  # bytes of a Containerfile


def read(folder: Path, stream: str, build_args: Mapping[str, str] | None = None) -> tuple[Image, ...]:
    """The images of the tree, in the order of their folders. Raises RequestError with file and line.

    An image is named as its folder; where two folders have one name, by their paths in the tree.
    """
    files = sorted(_files(folder))
    if not files:
        raise RequestError(f"{folder}: no Containerfile or Dockerfile in it")
    names = _names(folder, files)
    local = {spec: name for name in names.values() for spec in specs(name, stream)}
    return tuple(_image(file, folder, names[file], stream, local, build_args) for file in files)


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


def _files(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise RequestError(f"{folder}: not a folder")

    def unreadable(error: OSError) -> None:
        raise RequestError(f"{error.filename}: {error.strerror}")

    for at, folders, files in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in NAMES:
            if name in files:
                yield Path(at) / name
                break


def _names(folder: Path, files: list[Path]) -> dict[Path, str]:
    short = {file: (file.parent if file.parent != folder else folder.resolve()).name.lower() for file in files}
    often = Counter(short.values())
    return {
        file: name if often[name] == 1 else "-".join(file.parent.relative_to(folder).parts).lower() or name
        for file, name in short.items()
    }


def specs(name: str, stream: str) -> Iterator[str]:
    """All that a Containerfile of the tree may call the image."""
    for prefix in ("", LOCAL):
        for suffix in ("", ":latest", f":{stream}"):
            yield f"{prefix}{name}{suffix}"


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
