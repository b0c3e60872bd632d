"""`make mutations`: makes each fault of the catalog in a copy of the tree, and sees that a test fails.

A fault that no test sees is a promise that nothing holds; a fault whose place is gone is to be written anew.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from mutations.catalog import MUTATIONS, Mutation

ROOT = Path(__file__).parents[2]
COPIED = ("rebuilder", "consumers", "tests", "config", "docs", "setup.cfg", "pyproject.toml", "README.md")
FAILED = 1  # pytest's status where a test failed
LONGEST = 300


@contextmanager
def copy_of_the_tree() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        for name in COPIED:
            place, copy = ROOT / name, Path(folder) / name
            shutil.copytree(place, copy) if place.is_dir() else shutil.copy(place, copy)
        yield Path(folder)


def is_caught(mutation: Mutation, tree: Path) -> bool:
    """Whether one of its tests fails, or hangs. Raises ValueError where its place is gone, or its tests fail anyway."""
    if not passes(tree, mutation.tests):
        raise ValueError(f"pytest {' '.join(mutation.tests)} fails without it")
    path = tree / mutation.file
    whole = path.read_text(encoding="utf-8")
    if whole.count(mutation.before) != 1:
        raise ValueError(f"{mutation.file} has its place {whole.count(mutation.before)} times")
    path.write_text(whole.replace(mutation.before, mutation.after), encoding="utf-8")
    try:
        status = run(tree, mutation.tests)
    finally:
        path.write_text(whole, encoding="utf-8")
    if status not in (0, FAILED):
        raise ValueError(f"pytest {' '.join(mutation.tests)} ended with {status}")
    return status == FAILED


@cache
def passes(tree: Path, tests: Sequence[str]) -> bool:
    """Whether these tests pass without a fault: those that fail anyway would see every one."""
    return run(tree, tests) == 0


def run(tree: Path, tests: Sequence[str]) -> int:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, timeout=LONGEST, check=False)
    except subprocess.TimeoutExpired:  # whoever runs the tests sees that too
        return FAILED
    return done.returncode


def main(words: Sequence[str]) -> int:
    """Try the mutations in whose promise or file one of the words stands; without words all of them."""
    chosen = [m for m in MUTATIONS if not words or any(word in m.promise or word in m.file for word in words)]
    wrong = 0
    with copy_of_the_tree() as tree:
        for mutation in chosen:
            try:
                verdict = "caught" if is_caught(mutation, tree) else "NOT CAUGHT"
            except ValueError as error:
                verdict = f"STALE: {error}"
            wrong += verdict != "caught"
            print(f"{verdict:10}  {mutation.promise} ({mutation.file})", flush=True)
    print(f"{len(chosen) - wrong} of {len(chosen)} are caught")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
