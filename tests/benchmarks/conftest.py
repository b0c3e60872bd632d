"""What benchmarks have in common."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support import forks


@pytest.fixture(scope="module", autouse=True)
def executed() -> Iterator[None]:
    """The command is started as whoever types it starts it: what that costs is a part of what is measured."""
    with forks.executed():
        yield
