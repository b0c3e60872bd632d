"""What a class keeps and nothing reads: it is carried through files for nothing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence

from shape.density import ROOT, modules

KEPT = ("Struct", "NamedTuple", "frozen=True")


def unread_fields() -> Iterator[str]:
    """The fields of our values that neither code nor template reads, as class.field."""
    templates = [path.read_text() for path in (ROOT / "rebuilder/web/templates").rglob("*") if path.is_file()]
    assert templates
    yield from of_texts([path.read_text() for path in modules()], templates)


def of_texts(texts: Sequence[str], templates: Sequence[str] = ()) -> Iterator[str]:
    """The same in these modules and templates."""
    nodes = [node for text in texts for node in ast.walk(ast.parse(text))]
    read = {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)}
    read |= {name for node in nodes if isinstance(node, ast.MatchClass) for name in node.kwd_attrs}
    read |= {name for template in templates for name in re.findall(r"\.(\w+)", template)}
    for node in nodes:
        if isinstance(node, ast.ClassDef) and _is_a_value(node):
            yield from (f"{node.name}.{field}" for field in _fields(node) if field not in read)


def _is_a_value(node: ast.ClassDef) -> bool:
    parts = [ast.unparse(part) for part in (*node.decorator_list, *node.bases, *node.keywords)]
    return any(word in part for part in parts for word in KEPT)


def _fields(node: ast.ClassDef) -> Iterator[str]:
    for line in node.body:
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
            yield line.target.id
