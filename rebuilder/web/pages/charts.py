"""What the pages draw beside the graph: how far things are, when they were built, and the layers as a tree.

Lengths only: the templates make SVG of them, and the style sheet gives it colours.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import Struct

from rebuilder.domain.lifecycle import State

WIDTH = 1000.0
NARROWEST = 4.0  # of WIDTH: what takes no time is still seen
ORDER = (
    State.SUCCEEDED, State.UNNEEDED, State.FAILED, State.CANCELED, State.BLOCKED, State.TESTING, State.BUILDING,
    State.SUBMITTING, State.QUEUED, State.WAITING,
)  # fmt: skip


class Part(Struct, frozen=True):
    """A piece of a bar that is WIDTH long: how many things it stands for, and in which state."""

    state: State
    count: int
    x: float
    width: float


def parts(counts: Mapping[State, int]) -> list[Part]:
    """A bar of all of these, what is done at its left."""
    total = sum(counts.values())
    segments, x = [], 0.0
    for state in ORDER:
        if counts.get(state):
            width = WIDTH * counts[state] / total
            segments.append(Part(state, counts[state], round(x, 2), round(width, 2)))
            x += width
    return segments


class Bar(Struct, frozen=True):
    """When a build ran, or `ahead`: when it is expected to; on a scale that is WIDTH long."""

    x: float
    width: float
    ahead: bool


class Scale(Struct, frozen=True):
    """The time that a time line shows, in seconds since the epoch; `now` where that is within it."""

    start: float
    end: float
    now: float

    def bar(self, begin: float, end: float, ahead: bool = False) -> Bar:
        """The bar between two moments (seconds since the epoch), in points, wide enough to be seen."""
        x = min(self._at(begin), WIDTH - NARROWEST)
        return Bar(round(x, 1), round(max(NARROWEST, self._at(end) - x), 1), ahead)

    @property
    def now_at(self) -> float | None:
        """Where the present is, in points; None where it is not on the chart."""
        return round(self._at(self.now), 1) if self.start < self.now < self.end else None

    def _at(self, moment: float) -> float:
        share = (moment - self.start) / (self.end - self.start) if self.end > self.start else 0.0
        return WIDTH * min(1.0, max(0.0, share))


class Branch(Struct, frozen=True):
    """An image in the tree: how deep it is, and its other parents."""

    key: str
    depth: int
    also: tuple[str, ...]


def tree(parents: Mapping[str, Sequence[str]]) -> list[Branch]:
    """These images, given parents first, as a tree: each below its first parent, in the order in which they come."""
    under: dict[str, list[str]] = {"": []}
    for key, above in parents.items():
        under[key] = []
        under[above[0] if above else ""].append(key)
    branches: list[Branch] = []
    stack = [(key, 0) for key in reversed(under[""])]
    while stack:
        key, depth = stack.pop()
        branches.append(Branch(key, depth, tuple(parents[key][1:])))
        stack += [(child, depth + 1) for child in reversed(under[key])]
    return branches


def within(parents: Mapping[str, Iterable[str]], keys: Collection[str]) -> dict[str, list[str]]:
    """The same for these images alone."""
    return {key: [parent for parent in above if parent in keys] for key, above in parents.items() if key in keys}
