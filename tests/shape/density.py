"""Functions that are too dense to be read at once: more ways through, parameters or levels than the limits allow."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct
from radon.complexity import cc_visit
from radon.visitors import Function

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("rebuilder", "consumers")
WAYS, PARAMETERS, LEVELS = 10, 6, 3
BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.Match)
BY_DECORATOR = ("command", "get", "post")  # each parameter is an option of a verb, or of a query: that is its interface


class Measure(Struct, frozen=True):
    """One function: its place as module:name, ways through as radon counts them, parameters, and levels of blocks."""

    place: str
    ways: int
    parameters: int
    levels: int


def modules() -> list[Path]:
    """The modules that are measured; migrations stay as they were when they were published."""
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    return sorted(path for path in found if "versions" not in path.parts)


def measures() -> Iterator[Measure]:
    """Every function and method of the project."""
    for path in modules():
        yield from of_text(path.read_text(), str(path.relative_to(ROOT)))


def of_text(text: str, name: str) -> Iterator[Measure]:
    """Every function and method of one module."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = {node.lineno: node for node in ast.walk(ast.parse(text)) if isinstance(node, functions)}
    for block in cc_visit(text):
        if isinstance(block, Function):  # a class's methods are told once more beside it
            node = nodes.get(block.lineno) or nodes[_first_line(nodes, block.lineno)]
            yield Measure(f"{name}:{block.fullname}", block.complexity, _parameters(node), _levels(node))


def _first_line(nodes: dict[int, ast.FunctionDef | ast.AsyncFunctionDef], line: int) -> int:
    """radon may count a function from its first decorator."""
    return min(number for number in nodes if number >= line)


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Those that a caller gives: not `self`, and none where each is an option of a verb or of a query."""
    decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
    if any(decorator.partition("(")[0].rpartition(".")[2] in BY_DECORATOR for decorator in decorators):
        return 0
    given = [argument.arg for argument in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]]
    return len([name for name in given if name not in ("self", "cls")])


def _levels(node: ast.AST) -> int:
    """How many blocks stand within each other; `elif` is no level of its own, nor is a function within."""
    deepest = 0
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        is_elif = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
        own = int(isinstance(child, BLOCKS) and not is_elif)
        deepest = max(deepest, own + _levels(child))
    return deepest
