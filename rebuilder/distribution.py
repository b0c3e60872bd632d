"""The distribution that this package is installed from: its name, its version and its extras."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from contextlib import contextmanager

from rebuilder.domain.errors import RequestError

NAME = "container-rebuilder"  # on PyPI the name of the command belongs to somebody else


def version() -> str:
    """The version that is installed."""
    return importlib.metadata.version(NAME)


def install(extra: str) -> str:
    """How to get an extra."""
    return f"pip install '{NAME}[{extra}]'"


@contextmanager
def needs(extra: str, what: str) -> Iterator[None]:
    """What is imported inside comes with an extra. Raises RequestError that names it where it is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise RequestError(f"{what} needs {error.name}: {install(extra)}") from None
