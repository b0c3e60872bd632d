"""The same measures of other people's code, to hold ours beside: a row for each folder or file."""

from __future__ import annotations

import ast
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from msgspec import Struct

from shape.density import LEVELS, PARAMETERS, WAYS, Measure, modules, of_text

SKIPPED = {"tests", "test", "versions", "migrations", "docs", "examples"}
HEAD = ("", "functions", f"above {WAYS} ways", f"above {PARAMETERS} parameters", f"above {LEVELS} levels", "worst ways",
        "median lines of a file", "longest file", "public with docstring", "comment lines")  # fmt: skip


class Shape(Struct, frozen=True):
    """Some modules, measured together: `documented` of the `public` functions, methods and classes have a docstring."""

    measures: Sequence[Measure]
    lines: Sequence[int]
    public: int
    documented: int
    comments: int

    def row(self, name: str) -> tuple[str, ...]:
        """As text, in the order of HEAD."""
        return (
            name, str(len(self.measures)),
            str(sum(one.ways > WAYS for one in self.measures)),
            str(sum(one.parameters > PARAMETERS for one in self.measures)),
            str(sum(one.levels > LEVELS for one in self.measures)),
            str(max((one.ways for one in self.measures), default=0)),
            f"{median(self.lines):.0f}", str(max(self.lines)),
            f"{100 * self.documented / max(1, self.public):.0f}%", f"{100 * self.comments / sum(self.lines):.1f}%",
        )  # fmt: skip


def shape_of(paths: Sequence[Path]) -> Shape:
    """The shape of these modules."""
    texts = {path: path.read_text() for path in paths}
    found = [measure for path, text in texts.items() for measure in of_text(text, str(path))]
    public = [bool(ast.get_docstring(node)) for text in texts.values() for node in _public(ast.parse(text))]
    comments = sum(map(_comments, paths))
    return Shape(found, [text.count("\n") for text in texts.values()], len(public), sum(public), comments)


def modules_in(place: Path) -> list[Path]:
    """The modules of a folder, or the one file; tests, examples and migrations are left out."""
    if place.is_file():
        return [place]
    found = [path for path in place.rglob("*.py") if not SKIPPED.intersection(path.relative_to(place).parts)]
    return sorted(path for path in found if path.read_text().strip())


def table(places: Sequence[Path]) -> Iterator[tuple[str, ...]]:
    """Ours first, then those places."""
    yield HEAD
    yield shape_of(modules()).row("rebuilder")
    for place in places:
        yield shape_of(modules_in(place)).row(place.name)


def _public(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                inner = (one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))
                yield from (one for one in inner if not one.name.startswith("_"))


def _comments(path: Path) -> int:
    with path.open("rb") as file:
        return sum(token.type == tokenize.COMMENT for token in tokenize.tokenize(file.readline))
