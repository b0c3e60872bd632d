"""What is imported is declared, and what is declared is imported."""

from __future__ import annotations

import ast
import configparser
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# The files that an extra is for: nothing else imports what the extra brings.
EXTRAS = {
    "demo": ("rebuilder/demo/",),
    "koji": ("rebuilder/inventory/koji/", "rebuilder/builders/koji"),
    "otel": ("rebuilder/engine/otel.py",),
    "postgresql": ("rebuilder/store/postgresql_connection.py",),
    "sbom": ("rebuilder/sbom/",),
    "web": ("rebuilder/web/",),
}

CODE, BESIDE = ("rebuilder", "consumers"), ("tests", "docs")
# What PyPI does not have: ours, and osbs-client, which the distribution's package manager brings.
APART = (*CODE, "osbs")


def declared() -> dict[str, set[str]]:
    """The distributions that are asked for, by the extra; those that are always needed are under nothing."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    extras = {"": config["options"]["install_requires"], **config["options.extras_require"]}
    return {extra: {normal(re.split(r"[\s\[<>=]", line)[0]) for line in text.split("\n") if line.strip()}
            for extra, text in extras.items()}  # fmt: skip


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def imported(*folders: str) -> frozenset[tuple[str, str]]:
    """Each distribution that is imported in these folders, and the file that does it."""
    return frozenset(_imports(folders))


def _imports(folders: Iterable[str]) -> Iterator[tuple[str, str]]:
    for folder in folders:
        for file in (ROOT / folder).rglob("*.py"):
            for module in modules(ast.parse(file.read_text())):
                if name := distribution_of(module, beside=folder in BESIDE):
                    yield name, str(file.relative_to(ROOT))


@cache
def installed() -> Mapping[str, list[str]]:
    """The distributions of each package at the top."""
    return packages_distributions()


def distribution_of(module: str, *, beside: bool) -> str:
    """What has to be installed for a module; "" for nothing. `beside` the code, tests import each other."""
    known, top = installed(), module.partition(".")[0]
    if top in sys.stdlib_module_names or top in APART or (beside and top not in known):
        return ""
    (name,) = {found for found in known[top] if len(set(known[top])) == 1 or has(found, module)}
    return normal(name)


def has(name: str, module: str) -> bool:
    """Whether a distribution that shares its namespace with others has a module of it."""
    place = module.replace(".", "/")
    return any(str(file) in (f"{place}.py", f"{place}/__init__.py") for file in distribution(name).files or ())


def modules(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def extra_of(file: str) -> str:
    return next((extra for extra, places in EXTRAS.items() if file.startswith(places)), "")


def test_all_that_is_imported_is_declared() -> None:
    asked, used = declared(), imported(*CODE)
    missing = {(name, file) for name, file in used if name not in asked[""] | asked.get(extra_of(file), set())}
    assert not missing


def test_all_that_the_tests_and_the_documents_import_is_declared() -> None:
    asked = set().union(*declared().values())
    missing = {(name, file) for name, file in imported(*BESIDE) if name not in asked}
    assert not missing


def test_all_that_is_declared_is_imported() -> None:
    asked, used = declared(), {name for name, _ in imported(*CODE)}
    for extra in ("", *EXTRAS):
        assert asked[extra] - used == set(), extra


def test_an_extra_is_no_part_of_what_is_always_installed() -> None:
    asked = declared()
    assert not asked[""] & set().union(*(asked[extra] for extra in EXTRAS))


def test_the_tests_need_every_extra() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert f"container-rebuilder[{','.join(EXTRAS)}]" in config["options.extras_require"]["test"].split()
