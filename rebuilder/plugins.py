"""What others add: builders, sources of images and triggers, found by the entry points of their distributions.

Ours are found by their modules' names: reading the metadata of all that is installed takes longer than most commands.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from msgspec import Struct

from rebuilder.domain.errors import RequestError


class Finding(Struct, frozen=True):
    """What was looked at, and what is wrong with it; empty where nothing is. `unchecked` says why that was left out."""

    about: str
    fault: str = ""
    unchecked: str = ""


class PluginGroup(Struct, frozen=True):
    """A kind of plugins: `what` one is called, the `group` of entry points, and ours, below `modules` as `Plugin`."""

    what: str
    group: str
    modules: str
    ours: Collection[str]

    def check_name(self, name: str) -> str:
        """The name. Raises ValueError, which names all that there are, where there is none of that name."""
        if name not in self.ours and name not in _installed(self.group):
            raise ValueError(f"unknown {self.what} {name!r}: use one of {', '.join(self.names)}")
        return name

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all that there are."""
        return tuple(sorted({*self.ours, *_installed(self.group)}))

    def load(self, name: str) -> Any:
        """The plugin of that name. Raises RequestError for one that cannot be loaded."""
        if name in self.ours:
            return import_module(f"{self.modules}.{name}").Plugin()
        try:
            return _installed(self.group)[name].load()()
        except Exception as error:  # whatever the code of others does
            raise RequestError(f"the {self.what} {name} cannot be loaded: {error}") from None

    def others(self) -> Iterator[tuple[str, Any]]:
        """The name and the plugin of each that others add. Raises RequestError as `load` does."""
        for name in _installed(self.group):
            yield name, self.load(name)


@cache
def _installed(group: str) -> Mapping[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=group)}
