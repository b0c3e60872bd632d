"""What is imported is declared, and what is declared is imported."""

from __future__ import annotations

import ast
import configparser
import re
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEMO, KOJI = "rebuilder/demo/", ("rebuilder/inventory/koji/", "rebuilder/builders/koji")
UNSEEN = {"psycopg"}  # SQLAlchemy imports it


def declared() -> dict[str, set[str]]:
    """The distributions that are asked for, by the extra; those that are always needed are under nothing."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    extras = {"": config["options"]["install_requires"], **config["options.extras_require"]}
    return {extra: {normal(re.split(r"[\s\[<>=]", line)[0]) for line in text.split("\n") if line.strip()}
            for extra, text in extras.items()}  # fmt: skip


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported() -> Iterator[tuple[str, str]]:
    """Each distribution that is imported, and the file that does it."""
    known = packages_distributions()
    for folder in ("rebuilder", "consumers"):
        for file in (ROOT / folder).rglob("*.py"):
            for module in modules(ast.parse(file.read_text())):
                top = module.partition(".")[0]
                if top not in sys.stdlib_module_names and top not in ("rebuilder", "consumers", "osbs"):
                    (name,) = set(known[top])
                    yield normal(name), str(file.relative_to(ROOT))


def modules(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def extra_of(file: str) -> str:
    return "demo" if file.startswith(DEMO) else "koji" if file.startswith(KOJI) else ""


def test_all_that_is_imported_is_declared() -> None:
    asked = declared()
    missing = {(name, file) for name, file in imported() if name not in asked[""] | asked.get(extra_of(file), set())}
    assert not missing


def test_all_that_is_declared_is_imported() -> None:
    asked, used = declared(), {name for name, _ in imported()}
    for extra in ("", "demo", "koji"):
        assert asked[extra] - used - UNSEEN == set(), extra


def test_an_extra_is_no_part_of_what_is_always_installed() -> None:
    asked = declared()
    assert not asked[""] & (asked["demo"] | asked["koji"])
