"""Reading the inventory document, YAML or JSON, with file and line for all that is wrong in it."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import yaml

from rebuilder.domain.errors import RequestError
from rebuilder.inventory.document import Document
from rebuilder.inventory.schema import DocumentError, ImageEntry, Place, Root, misshapen

DEEPEST = 50
MOST_VALUES = 10_000_000  # with each alias written out: ten lines of aliases can stand for more than fits in memory
TOO_DEEP = "nested too deeply"
LIBYAML_LIMIT = "nesting depth"  # newer versions have a limit of their own, which they may reach while reading ahead


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads YAML; a key must be text, and there once.

    Counts how deep it is: libyaml's reader in C would overflow its stack, and with it end the process.
    """

    _depth = 0

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._may_have_aliases = "*" in stream  # without, there is no need to count, which takes a while

    def get_single_node(self) -> Any:
        node = super().get_single_node()
        if node is not None and self._may_have_aliases and _expanded(node, {}) > MOST_VALUES:
            problem = f"aliases make it larger than {MOST_VALUES:,} values"
            raise yaml.composer.ComposerError(None, None, problem, node.start_mark)
        return node

    def descend_resolver(self, parent: Any, index: Any) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise RecursionError

    def ascend_resolver(self) -> None:
        self._depth -= 1


def _expanded(node: Any, sizes: dict[int, int]) -> int:
    """How many values a node stands for, each alias written out; too many where it contains itself."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    if (size := sizes.get(id(node))) is None:
        sizes[id(node)] = MOST_VALUES + 1  # until it is counted
        pairs = isinstance(node, yaml.MappingNode)
        inner = (value for _, value in node.value) if pairs else iter(node.value)
        size = sizes[id(node)] = 1 + sum(_expanded(value, sizes) for value in inner)
    return size


def _mapping(loader: Any, node: Any) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for (key, value), (key_node, _) in zip(loader.construct_pairs(node, deep=True), node.value, strict=True):
        if not isinstance(key, str):
            raise yaml.constructor.ConstructorError(None, None, "a key must be text", key_node.start_mark)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is defined twice", key_node.start_mark)
        seen[key] = value
    return seen


# A date is text like any other: a branch may be named 2026-11-01.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in forms if not tag.endswith(":timestamp")]
    for first, forms in _Loader.yaml_implicit_resolvers.items()
}
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def read(path: Path) -> Document:
    """The document in this file. Raises RequestError with file and line."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RequestError(f"{path}: {error.strerror or error}") from None
    try:
        return _document(content, path.suffix == ".json")
    except DocumentError as error:
        raise RequestError(f"{path}:{_line(content, error.place)}: {_where(error.place)}: {error}") from None
    except json.JSONDecodeError as error:
        raise RequestError(f"{path}:{error.lineno}: not JSON: {error.msg}") from None
    except yaml.YAMLError as error:
        raise RequestError(f"{path}{_yaml_fault(error)}") from None
    except UnicodeDecodeError:
        raise RequestError(f"{path}: not UTF-8 text") from None
    except RecursionError:
        raise RequestError(f"{path}: {TOO_DEEP}") from None
    except ValueError as error:
        raise RequestError(f"{path}:1: a value that cannot be read: {error}") from None


def _document(content: bytes, as_json: bool) -> Document:
    try:
        if not as_json:
            loaded = yaml.load(content.decode("utf-8"), _Loader)
            return Document(msgspec.convert(loaded, Root[Any]), partial(msgspec.convert, type=ImageEntry))
        return Document(msgspec.json.decode(content, type=Root[msgspec.Raw]), msgspec.json.Decoder(ImageEntry).decode)
    except msgspec.ValidationError as error:
        raise misshapen(error) from None
    except msgspec.DecodeError:
        json.loads(content)  # which tells the line
        raise


def _yaml_fault(error: yaml.YAMLError) -> str:
    """What is wrong with the text, after its line."""
    mark = getattr(error, "problem_mark", None)
    line = f":{mark.line + 1}" if mark else ""
    problem = getattr(error, "problem", None) or "not YAML"
    return f"{line}: {TOO_DEEP if LIBYAML_LIMIT in problem else problem}"


def _where(place: Place) -> str:
    """The place as people write it: images[3].source.git."""
    steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
    return steps.lstrip(".") or "the document"


def _line(content: bytes, place: Place) -> int:
    """The line of that place, or of the last step to it that is there. JSON is YAML too."""
    try:
        node = yaml.compose(content.decode("utf-8"), _Loader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        return 1
    line = 0
    for step in place:
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            node = node.value[step]
            line = node.start_mark.line
        elif isinstance(node, yaml.MappingNode):
            entry = next(((key, value) for key, value in node.value if key.value == step), None)
            if entry is None:
                break
            line, node = entry[0].start_mark.line, entry[1]
    return line + 1
