"""Locals that tell what was done instead of what they are."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from shape.density import ROOT, modules

VAGUE = {"found", "told", "asked"}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def vague_locals() -> Iterator[str]:
    """The places of such names within functions, as file:line: name."""
    for path in modules():
        for line, name in of_text(path.read_text()):
            yield f"{path.relative_to(ROOT)}:{line}: {name}"


def of_text(text: str) -> Iterator[tuple[int, str]]:
    """The same in one module, as line and name."""
    functions = (node for node in ast.walk(ast.parse(text)) if isinstance(node, FUNCTIONS))
    names = {node for function in functions for node in ast.walk(function) if isinstance(node, ast.Name)}
    bound = {(node.lineno, node.id) for node in names if isinstance(node.ctx, ast.Store) and node.id in VAGUE}
    yield from sorted(bound)
