"""A folder tree of Containerfiles and Dockerfiles: every folder that has one is an image, or several of them."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import Fault, Image, Parent, Source, image_name, stream_name
from rebuilder.domain.image_name import ImageName, name_of, stream_of
from rebuilder.inventory import tree_hints
from rebuilder.inventory.containerfile import Base
from rebuilder.inventory.containerfile import read as read_file
from rebuilder.inventory.containerfile_stages import Options
from rebuilder.inventory.content import Contents
from rebuilder.inventory.tree_naming import LOCAL, STORAGE, Naming
from rebuilder.inventory.tree_settings import FILE, WHOLE, line_of
from rebuilder.inventory.tree_walk import Folder, text_of, walk

NAMES = ("Containerfile", "Dockerfile")


class Tree(Struct, frozen=True):
    """The images of a folder tree, in the order of their folders; those whose files could not be read; and hints.

    A hint tells people of what may be meant otherwise.
    """

    images: tuple[Image, ...]
    faults: tuple[Fault, ...]
    hints: tuple[str, ...] = ()


class _Wanted(Struct, frozen=True):
    """An image that a folder makes: from which of its files, and up to which stage."""

    folder: Folder
    name: str
    stream: str
    file: str
    target: str = WHOLE

    @property
    def key(self) -> str:
        return str(ImageName(self.name, self.stream))


def read(folder: Path, stream: str, build_args: Mapping[str, str] | None = None) -> tuple[Image, ...]:
    """The images of the tree. Raises RequestError with file and line for the first that cannot be read."""
    tree = scan(folder, Naming(stream), build_args)
    if tree.faults:
        raise RequestError(tree.faults[0].told)
    return tree.images


def scan(tree: Path, naming: Naming, build_args: Mapping[str, str] | None = None) -> Tree:
    """The images of the tree; a file that is wrong spoils no other. Raises RequestError where there is no tree.

    An image is named as its folder, where that does not say otherwise; where two folders have one name, by their paths
    in the tree.
    """
    walked = walk(tree)
    naming = replace(naming, registry=walked.root.registry or naming.registry)
    reading = _Found(tree, naming, dict(build_args or {}))
    for folder in walked.folders:
        reading.add(folder)
    others = reading.others(walked.folders)
    if not reading.files and not reading.faults:
        raise RequestError(f"{tree}: no Containerfile or Dockerfile in it{tree_hints.left_aside(others)}")
    reading.name()
    images = reading.images()
    hints = [f"{tree}{tree_hints.left_aside(others)}"] if others else []
    hints += tree_hints.not_read(tree, walked)
    hints += tree_hints.look_alikes(images, reading.names)
    hints += tree_hints.lost(images, naming, reading.keys)
    return Tree(images, tuple(reading.faults), tuple(hints))


class _Found:
    """What the folders of a tree make, step by step: their files, their names, their images."""

    def __init__(self, tree: Path, naming: Naming, build_args: Mapping[str, str]) -> None:
        self._tree, self._naming, self._build_args = tree, naming, build_args
        self.files: list[tuple[Folder, dict[str, str]]] = []  # of each folder with any: its file for each stream
        self.faults: list[Fault] = []
        self._unread: set[str] = set()  # images that cannot be read, and are images of the tree all the same
        self._wanted: dict[str, _Wanted] = {}
        self._contents = Contents()

    def add(self, folder: Folder) -> None:
        """Find the folder's build files."""
        if folder.fault:
            self._refuse(folder.fault, self._known(folder) or [str(ImageName(folder.short, self._naming.stream))])
            return
        settings = folder.settings
        files: dict[str, str] = {}
        missing: dict[str, str] = {}
        for stream in settings.streams_of(folder.path, self._naming.streams, self._naming.stream):
            names = tuple(settings.files(stream)) or NAMES
            file = _first_file(folder.path, names)
            if file:
                files[stream] = file
            else:
                missing[stream] = f"no {' or '.join(names)} for stream {stream}"
        if files:
            self.files.append((folder, files))
        if missing and folder.place and folder.text:
            self._refuse_missing(folder, missing)

    def _refuse_missing(self, folder: Folder, missing: Mapping[str, str]) -> None:
        """The folder's settings name files that are not there: `missing` has the fault for each stream."""
        line = line_of(folder.text, ("containerfile",))
        problem = f"{folder.path / FILE}:{line}: {'; '.join(missing.values())} beside it"
        keys = [key for key in self._known(folder) if stream_of(key) in missing]
        self._refuse(problem, keys or [str(ImageName(folder.short, stream)) for stream in missing])

    def _known(self, folder: Folder) -> Collection[str]:
        """The images that the folder made before."""
        return self._naming.known.get(folder.real, ())

    def _refuse(self, problem: str, keys: Collection[str]) -> None:
        """What cannot be read stays as it was."""
        self._unread.update(keys)
        self.faults += [Fault(key, problem) for key in keys]

    def others(self, folders: Sequence[Folder]) -> list[str]:
        """The files with names like those of build files that no image is built from."""
        used = {folder.path / file for folder, files in self.files for file in files.values()}
        paths = (folder.path / file for folder in folders for file in folder.others)
        return [str(file) for file in paths if file not in used]

    def name(self) -> None:
        """Give each image its name. Where two folders would make one image, both are told, and neither is read."""
        given = {folder.path: self._given(folder) for folder, _ in self.files}
        often: Counter[str] = Counter()
        for folder, files in self.files:
            names = _names(folder, given[folder.path] or folder.short)
            often.update(str(ImageName(*both)) for both in product(names, files))
        for folder, files in self.files:
            name = given[folder.path] or _free_name(folder, files, often)
            targets = folder.settings.target or {WHOLE: WHOLE}
            for (stream, file), (image, target) in product(files.items(), targets.items()):
                self._want(_Wanted(folder, image or name, stream, file, target))

    def _given(self, folder: Folder) -> str:
        """The name that the folder's file gives it, or that it has already; "" where it is to get one."""
        if folder.settings.name:
            return folder.settings.name
        names = {name_of(key) for key in self._known(folder)}
        return next((name for name in (folder.short, folder.long) if name and name in names), "")

    def _want(self, image: _Wanted) -> None:
        folder = image.folder
        try:
            image_name(image.name)
            stream_name(image.stream)
        except ValueError as error:
            problem = f"{folder.path}: {error}; rename the folder, or set name in {folder.path / FILE}"
            self.faults.append(Fault(image.key, problem))
            self._unread.add(image.key)
            return
        other = self._wanted.get(image.key)
        if other is None:
            self._wanted[image.key] = image
            return
        both = " and ".join(str(maker) for maker in sorted((other.folder.path, folder.path)))
        problem = f"{both} would both be the image {image.name}: rename one of the folders, or set name in its {FILE}"
        stays = next((one for one in (other, image) if one.key in self._known(one.folder)), None)
        if stays is not None:
            self._wanted[image.key] = stays
            goes = image if stays is other else other
            self.faults.append(Fault(str(ImageName(goes.folder.place, goes.stream)), problem))
        else:
            self._unread.add(image.key)
            self.faults.append(Fault(image.key, problem))

    @property
    def keys(self) -> Collection[str]:
        return self._wanted.keys() | self._unread

    @property
    def names(self) -> Mapping[str, Collection[str]]:
        """The streams of each name."""
        streams: dict[str, list[str]] = {}
        for key in sorted(self.keys):
            name, stream = ImageName.of(key)
            streams.setdefault(name, []).append(stream)
        return streams

    def images(self) -> tuple[Image, ...]:
        """The images that can be read, in the order of their folders; the others are faults from now on."""
        local: dict[str, dict[str, str]] = {}
        images = []
        for key, image in self._wanted.items():
            if key in self._unread:
                continue
            if image.stream not in local:
                local[image.stream] = self._local(image.stream)
            try:
                images.append(self._image(image, local[image.stream]))
            except RequestError as error:
                self.faults.append(Fault(key, str(error)))
        return tuple(images)

    def _local(self, stream: str) -> dict[str, str]:
        """The images of the tree by all that a file of the stream may call them."""
        return {spec: key for key in self.keys for spec in self._naming.specs(key, stream)}

    def _image(self, image: _Wanted, local: Mapping[str, str]) -> Image:
        settings, file = image.folder.settings, image.folder.path / image.file
        text = text_of(file, self._tree)
        args = {**self._build_args, **settings.build_args}
        try:
            recipes = [read_file(text, Options(args, image.target, one)) for one in settings.platforms or ("",)]
            bases = {(base.spec, base.kind): base for recipe in recipes for base in recipe.parents}
            parents = tuple(_parent(base, image.key, local) for base in bases.values())
        except RequestError as error:
            raise RequestError(f"{file}:{error}") from None
        source = Source(
            path=image.folder.real, containerfile=image.file, target=image.target,
            build_args=tuple(sorted(settings.build_args.items())), platforms=settings.platforms,
            registry=self._naming.registry, upgrades=recipes[0].upgrades, care=settings.care(image.folder.path),
        )  # fmt: skip
        options = args, source.target, source.platforms, source.containerfile
        content = f"{self._contents.digest(source.path)} {options}"
        digest = hashlib.sha256(content.encode()).hexdigest()
        return Image(image.name, image.stream, parents, replace(source, digest=digest))


def _names(folder: Folder, name: str) -> Collection[str]:
    """The names of the images that the folder makes, of which the whole file's is `name`."""
    return [image or name for image in folder.settings.target or (WHOLE,)]


def _parent(base: Base, of: str, local: Mapping[str, str]) -> Parent:
    """A folder `nginx` whose file says FROM nginx is built on somebody else's nginx: it cannot mean itself."""
    here = base.spec.removeprefix(STORAGE).startswith(LOCAL)
    key = local.get(base.spec)
    if key is not None and (key != of or here):
        return Parent(base.kind, key)
    if here:
        raise RequestError(f"{base.line}: unknown parent {base.spec}: no folder of the tree makes it")
    return Parent(base.kind, external=base.spec)


def _first_file(folder: Path, names: Iterable[str]) -> str:
    """The first of the names that the folder has; an empty text where it has none."""
    return next((name for name in names if os.path.lexists(folder / name)), "")


def _free_name(folder: Folder, streams: Iterable[str], often: Mapping[str, int]) -> str:
    """The folder's short name where no other folder would make an image of that name, else the long one."""
    alone = all(often[str(ImageName(folder.short, stream))] == 1 for stream in streams)
    return folder.short if alone else folder.long or folder.short
