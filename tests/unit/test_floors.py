"""The house: imports run downward only, and the core knows no clock, network, disk or SQL."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOMAIN = sorted((ROOT / "rebuilder" / "domain").glob("**/*.py"))
OUTSIDE = frozenset({
    *("sqlalchemy", "alembic", "psycopg", "sqlite3", "pika", "fedora_messaging", "twisted", "requests", "urllib"),
    *("os", "io", "pathlib", "shutil", "tempfile", "subprocess", "socket", "ssl", "asyncio", "threading", "time"),
    *("http", "random", "secrets", "logging", "sys"),
})  # fmt: skip
CLOCK_AND_DISK = frozenset({"now", "utcnow", "today", "open", "print", "input", "uuid1", "uuid4"})


def test_imports_run_downward_only() -> None:
    """In a process of its own: what other tests have loaded is not to be looked at."""
    call = "lint_imports(config_filename='setup.cfg', no_cache=True)"
    program = f"from importlinter.cli import lint_imports; print({call})"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["0"], f"{done.stdout}{done.stderr}"


def test_there_is_a_domain() -> None:
    assert DOMAIN


@pytest.mark.parametrize("path", DOMAIN, ids=lambda path: path.name)
def test_the_domain_knows_nothing_of_the_outside(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not OUTSIDE.intersection(imported(tree))
    assert not CLOCK_AND_DISK.intersection(called(tree))


def imported(tree: ast.AST) -> Iterator[str]:
    """The top-level packages that a module imports, anywhere in it.

    `from random import Random` is none of the outside: a generator with a seed always gives the same numbers.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and ast.unparse(node) != "from random import Random":
            yield node.module.partition(".")[0]


def called(tree: ast.AST) -> Iterator[str]:
    """The last names of what a module calls: `now` of `datetime.now()`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute):
                yield node.func.attr
            elif isinstance(node.func, ast.Name):
                yield node.func.id
