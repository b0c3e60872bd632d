"""What the pages draw: how far things are, when they were built, and how the layers hang together.

Lengths only: the templates make SVG of them, and the style sheet gives it colours.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rebuilder.domain.graph_layout import Place, layout
from rebuilder.domain.lifecycle import State

BOX_WIDTH, BOX_HEIGHT, COLUMN_WIDTH, ROW_HEIGHT, MARGIN = 184.0, 38.0, 240.0, 46.0, 4.0
WIDTH = 1000.0
NARROWEST = 4.0  # of WIDTH: what takes no time is still seen
ORDER = (
    State.SUCCEEDED, State.UNNEEDED, State.FAILED, State.CANCELED, State.BLOCKED, State.TESTING, State.BUILDING,
    State.SUBMITTING, State.QUEUED, State.WAITING,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a bar that is WIDTH long: how many things it stands for, and in which state."""

    state: State
    count: int
    x: float
    width: float


def parts(counts: Mapping[State, int]) -> list[Part]:
    """A bar of all of these, what is done at its left."""
    total = sum(counts.values())
    found, x = [], 0.0
    for state in ORDER:
        if counts.get(state):
            width = WIDTH * counts[state] / total
            found.append(Part(state, counts[state], round(x, 2), round(width, 2)))
            x += width
    return found


@dataclass(frozen=True, slots=True)
class Bar:
    """When a build ran, or `ahead`: when it is expected to; on a scale that is WIDTH long."""

    x: float
    width: float
    ahead: bool


@dataclass(frozen=True, slots=True)
class Scale:
    """The time that a time line shows, in seconds since the epoch; `now` where that is within it."""

    start: float
    end: float
    now: float

    def bar(self, begin: float, end: float, ahead: bool = False) -> Bar:
        x = min(self._at(begin), WIDTH - NARROWEST)
        return Bar(round(x, 1), round(max(NARROWEST, self._at(end) - x), 1), ahead)

    @property
    def now_at(self) -> float | None:
        return round(self._at(self.now), 1) if self.start < self.now < self.end else None

    def _at(self, moment: float) -> float:
        share = (moment - self.start) / (self.end - self.start) if self.end > self.start else 0.0
        return WIDTH * min(1.0, max(0.0, share))


@dataclass(frozen=True, slots=True)
class Box:
    """An image in the graph. `critical` where its build decides when all is done."""

    key: str
    state: str
    x: float
    y: float
    critical: bool


@dataclass(frozen=True, slots=True)
class Edge:
    """A line of the graph, as the data of an SVG path."""

    path: str
    critical: bool


@dataclass(frozen=True, slots=True)
class Drawing:
    """A graph as it is drawn, base images at the left."""

    boxes: tuple[Box, ...]
    edges: tuple[Edge, ...]
    width: float
    height: float


def graph(parents: Mapping[str, Sequence[str]], states: Mapping[str, str], critical: Sequence[str] = ()) -> Drawing:
    """The graph of these images, given parents first, each with its parents."""
    found = layout(parents)
    along = set(pairwise(critical))
    boxes = tuple(
        Box(key, states.get(key, ""), _x(place), _y(place), key in critical) for key, place in found.places.items()
    )
    edges = sorted(
        (Edge(_path(places), edge in along) for edge, places in found.lines.items()), key=lambda edge: edge.critical
    )
    width = max(0.0, (found.columns - 1) * COLUMN_WIDTH + BOX_WIDTH) + 2 * MARGIN
    height = max(0.0, (found.rows - 1) * ROW_HEIGHT + BOX_HEIGHT) + 2 * MARGIN
    return Drawing(boxes, tuple(edges), round(width, 1), round(height, 1))


def _x(place: Place) -> float:
    return round(MARGIN + place.column * COLUMN_WIDTH, 1)


def _y(place: Place) -> float:
    return round(MARGIN + place.row * ROW_HEIGHT, 1)


def _path(places: Sequence[Place]) -> str:
    """From the right side of the first box to the left side of the last, through the columns between."""
    middle = BOX_HEIGHT / 2
    x, y = _x(places[0]) + BOX_WIDTH, _y(places[0]) + middle
    written = [f"M{x:g} {y:g}"]
    for place in places[1:]:
        to_x, to_y = _x(place), _y(place) + middle
        bend = (to_x - x) / 2
        written.append(f"C{x + bend:g} {y:g} {to_x - bend:g} {to_y:g} {to_x:g} {to_y:g}")
        x, y = to_x, to_y
        if place is not places[-1]:
            x += BOX_WIDTH
            written.append(f"H{x:g}")
    return "".join(written)


@dataclass(frozen=True, slots=True)
class Branch:
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
    found: list[Branch] = []
    stack = [(key, 0) for key in reversed(under[""])]
    while stack:
        key, depth = stack.pop()
        found.append(Branch(key, depth, tuple(parents[key][1:])))
        stack += [(child, depth + 1) for child in reversed(under[key])]
    return found


def within(parents: Mapping[str, Iterable[str]], keys: Collection[str]) -> dict[str, list[str]]:
    """The same for these images alone."""
    return {key: [parent for parent in above if parent in keys] for key, above in parents.items() if key in keys}
