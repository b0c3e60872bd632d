"""Public modules, classes, functions and methods that say nothing of themselves."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Sequence

from shape.density import ROOT, modules

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def undocumented() -> Iterator[str]:
    """Their places, as file:line: name."""
    texts = {path: path.read_text() for path in modules()}
    for (path, text), found in zip(texts.items(), of_texts(list(texts.values())), strict=True):
        for line, name in found:
            yield f"{path.relative_to(ROOT)}:{line}: {name or text[:40]!r}"


def of_texts(texts: Sequence[str]) -> Iterator[list[tuple[int, str]]]:
    """The same for each of these modules, as line and name: what carries out a documented method needs no words."""
    trees = [ast.parse(text) for text in texts]
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    documented = {
        method.name for node in classes for method in node.body
        if isinstance(method, FUNCTIONS) and ast.get_docstring(method)
    }  # fmt: skip
    ours = {node.name for node in classes} | {"Protocol", "StrEnum", "Enum", "IntEnum", "NamedTuple", "Generic"}
    for tree in trees:
        own = [] if ast.get_docstring(tree) else [(1, "the module")]
        yield own + [(node.lineno, name) for node, name in _public(tree.body, documented, ours)]


def _public(
    body: Sequence[ast.stmt], documented: Collection[str], ours: Collection[str], of: ast.ClassDef | None = None
) -> Iterator[tuple[ast.stmt, str]]:
    for node in body:
        if not isinstance(node, (ast.ClassDef, *FUNCTIONS)) or node.name.startswith("_"):
            continue
        told = ast.get_docstring(node) or any(ast.unparse(one) == "overload" for one in node.decorator_list)
        if not told and not (of and _is_told_elsewhere(node, of, documented, ours)):
            yield node, f"{of.name}.{node.name}" if of else node.name
        if isinstance(node, ast.ClassDef):
            yield from _public(node.body, documented, ours, node)


def _is_told_elsewhere(
    node: ast.stmt, of: ast.ClassDef, documented: Collection[str], ours: Collection[str]
) -> bool:
    """Whether a protocol or a class of ours tells what the method does, or the library whose class this one is of."""
    bases = [ast.unparse(base).partition("[")[0] for base in of.bases]
    return getattr(node, "name", "") in documented or any(base not in ours for base in bases)
