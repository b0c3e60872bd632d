"""The catalog of mutations stays true while the code moves: `make mutations` tries them."""

from __future__ import annotations

from pathlib import Path

import pytest
from mutations.catalog import MUTATIONS, Mutation

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.promise)
def test_its_place_is_there_once_and_its_tests_are_too(mutation: Mutation) -> None:
    assert (ROOT / mutation.file).read_text(encoding="utf-8").count(mutation.before) == 1
    assert all((ROOT / test).is_file() for test in mutation.tests if test.startswith("tests/"))
