"""The inventory document: YAML or JSON, for `source = "file"` and for `--inventory` on the command line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import yaml

from rebuilder.domain.errors import RequestError
from rebuilder.domain.graph import Cycle, Graph
from rebuilder.domain.image import (
    DEFAULT_STREAM,
    Image,
    ImageBuild,
    Inventory,
    Manifest,
    Parent,
    ParentKind,
    Source,
    Stream,
)
from rebuilder.domain.rpm import Rpm

SOURCE_KEYS = frozenset({"git", "ref", "commit", "path", "containerfile"})
IMAGE_KEYS = frozenset({"name", "stream", "parents", "source", "rpms", "duration", "pull_spec", "build"})
NEVER_EMPTY = frozenset({"name", "stream", "image", "external"})
LINE = "\0line"
DEEPEST = 50


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads YAML and keeps the line of every mapping, so that an error can point at it.

    Counts how deep it is: libyaml's reader in C would overflow its stack, and with it end the process.
    """

    _depth = 0

    def descend_resolver(self, parent: Any, index: Any) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise RecursionError

    def ascend_resolver(self) -> None:
        self._depth -= 1


def _mapping(loader: Any, node: Any) -> dict[Any, Any]:
    pairs = loader.construct_pairs(node, deep=True)
    seen: dict[Any, Any] = {LINE: node.start_mark.line + 1}
    for (key, value), (key_node, _) in zip(pairs, node.value, strict=True):
        if not isinstance(key, str):
            raise yaml.constructor.ConstructorError(None, None, "a key must be text", key_node.start_mark)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is there twice", key_node.start_mark)
        seen[key] = value
    return seen


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def read(path: Path) -> Inventory:
    """The inventory in this file. Raises RequestError with file and line; JSON is tried first where it is named so."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise RequestError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise RequestError(f"{path}: not UTF-8 text") from None
    try:
        if path.suffix == ".json":
            try:
                return _Document(path, json.loads(text)).inventory()
            except RequestError:
                pass  # read once more, slowly, for the line of the mistake
        return _Document(path, yaml.load(text, _Loader)).inventory()
    except json.JSONDecodeError as error:
        raise RequestError(f"{path}:{error.lineno}: not JSON: {error.msg}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise RequestError(f"{path}{line}: {getattr(error, 'problem', None) or 'not YAML'}") from None
    except RecursionError:
        raise RequestError(f"{path}: nested too deeply") from None
    except RequestError:
        raise
    except ValueError as error:
        raise RequestError(f"{path}: a value that cannot be read: {error}") from None


class _Document:
    """Turns the parsed document into values; remembers where it is for errors."""

    def __init__(self, path: Path, root: Any) -> None:
        self._path = path
        self._root = root
        self._line = 1
        self._rpms: dict[tuple[str, str], Rpm] = {}

    def _wrong(self, what: str) -> NoReturn:
        raise RequestError(f"{self._path}:{self._line}: {what}")

    def _table(self, value: Any, what: str, keys: frozenset[str] | None) -> dict[str, Any]:
        if not isinstance(value, dict):
            self._wrong(f"{what} must be a mapping")
        self._line = value.get(LINE, self._line)
        table = {key: item for key, item in value.items() if key != LINE}
        for key in table:
            if keys is not None and key not in keys:
                self._wrong(f"{what}: unknown key {key!r}")
        return table

    def _text(self, table: Mapping[str, Any], key: str, what: str, default: str = "") -> str:
        value = table.get(key, default)
        if not isinstance(value, str) or not value.isprintable() or (not value and key in NEVER_EMPTY):
            self._wrong(f"{what}: {key} must be text")
        return value

    def _list(self, value: Any, what: str) -> list[Any]:
        if value is None:
            return []
        if not isinstance(value, list):
            self._wrong(f"{what} must be a list")
        return value

    def inventory(self) -> Inventory:
        root = self._table(self._root, "the document", frozenset({"version", "streams", "images"}))
        if root.get("version") != 1:
            self._wrong("version must be 1")
        streams = tuple(
            Stream(name, self._text(self._table(value or {}, f"stream {name}", frozenset({"dist"})), "dist", name))
            for name, value in self._table(root.get("streams") or {}, "streams", None).items()
        )
        self._line = 1
        read = [self._image(value) for value in self._list(root.get("images"), "images")]
        lines: dict[str, int] = {}
        for image, _, line in read:
            if image.key in lines:
                self._line = line
                self._wrong(f"image {image.key} is there twice (first in line {lines[image.key]})")
            lines[image.key] = line
        for image, _, line in read:
            for parent in image.parents:
                if parent.image and parent.image not in lines:
                    self._line = line
                    self._wrong(f"image {image.key}: unknown parent {parent.image}")
        images = tuple(image for image, _, _ in read)
        try:
            Graph(images)
        except Cycle as error:
            self._line = lines[error.path[0]]
            self._wrong(str(error))
        return Inventory(images, streams, tuple(build for _, build, _ in read if build is not None))

    def _image(self, value: Any) -> tuple[Image, ImageBuild | None, int]:
        table = self._table(value, "an image", IMAGE_KEYS)
        line = self._line
        name, stream = self._text(table, "name", "an image"), self._text(table, "stream", "an image", DEFAULT_STREAM)
        what = f"image {name}:{stream}"
        listed = self._list(table.get("parents"), f"{what}: parents")
        parents = tuple(self._parent(item, stream, what) for item in listed)
        source = self._table(table.get("source") or {}, f"{what}: source", SOURCE_KEYS)
        duration = table.get("duration", 0)
        if isinstance(duration, bool) or not isinstance(duration, int | float) or not 0 <= duration < 1e9:
            self._wrong(f"{what}: duration must be seconds")
        fields = {key: self._text(source, key, f"{what}: source") for key in source}
        image = Image(name, stream, parents, Source(**fields), float(duration), self._text(table, "pull_spec", what))
        return image, self._build(table, image, what), line

    def _parent(self, value: Any, stream: str, what: str) -> Parent:
        if isinstance(value, str) and value:
            return Parent(ParentKind.BASE, value if ":" in value else f"{value}:{stream}")
        table = self._table(value, f"{what}: a parent", frozenset({"image", "kind", "external"}))
        kind = table.get("kind", "base")
        if kind not in list(ParentKind) or ("image" in table) == ("external" in table):
            self._wrong(f"{what}: a parent has image or external, and kind base or stage")
        if "external" in table:
            return Parent(ParentKind(kind), external=self._text(table, "external", f"{what}: a parent"))
        image = self._text(table, "image", f"{what}: a parent")
        return Parent(ParentKind(kind), image if ":" in image else f"{image}:{stream}")

    def _build(self, table: Mapping[str, Any], image: Image, what: str) -> ImageBuild | None:
        if "rpms" not in table:
            return None
        manifest = Manifest.of(self._rpm(item, what) for item in self._list(table["rpms"], f"{what}: rpms"))
        ident = self._text(table, "build", what) or "document-" + _digest(manifest)
        return ImageBuild(image.key, ident, manifest)

    def _rpm(self, value: Any, what: str) -> Rpm:
        nevra, source = value, ""
        if isinstance(value, dict):
            table = self._table(value, f"{what}: an rpm", frozenset({"nevra", "source"}))
            nevra, source = table.get("nevra"), self._text(table, "source", f"{what}: an rpm")
        if not isinstance(nevra, str):
            self._wrong(f"{what}: an rpm must be a NEVRA")
        rpm = self._rpms.get((nevra, source))
        if rpm is None:
            try:
                rpm = self._rpms[nevra, source] = Rpm.parse(nevra, source)
            except RequestError as error:
                self._wrong(f"{what}: {error}")
        return rpm


def _digest(manifest: Manifest) -> str:
    lines = sorted(f"{rpm.nevra} {rpm.sourcerpm}" for rpm in manifest.rpms)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def document(
    inventory: Inventory, manifest_of: Callable[[str], ImageBuild | None]
) -> dict[str, Any]:
    """The inventory as a document that `read` takes back; manifests are asked for one image at a time."""
    return {
        "version": 1,
        "streams": {stream.name: {"dist": stream.dist} for stream in inventory.streams},
        "images": [_written(image, manifest_of(image.key)) for image in inventory.images],
    }


def _written(image: Image, build: ImageBuild | None) -> dict[str, Any]:
    source = {key: getattr(image.source, key) for key in sorted(SOURCE_KEYS) if getattr(image.source, key)}
    parents = [
        {"image" if parent.image else "external": str(parent), "kind": str(parent.kind)} for parent in image.parents
    ]
    written: dict[str, Any] = {"name": image.name, "stream": image.stream, "parents": parents, "source": source}
    if image.estimate:
        written["duration"] = image.estimate
    if image.pull_spec:
        written["pull_spec"] = image.pull_spec
    if build is not None:
        written["build"] = build.ident
        if build.manifest is not None:
            rpms = sorted(build.manifest.rpms, key=lambda rpm: rpm.nevra)
            written["rpms"] = [{"nevra": rpm.nevra, "source": rpm.sourcerpm} for rpm in rpms]
    return written
