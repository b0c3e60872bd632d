"""Where the boxes of a layered graph go, and the lines between them: columns from left to right, parents first.

Pure. Columns and rows are numbers, not lengths: whoever draws decides how wide and high they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from msgspec import Struct

SWEEPS = 8


class Place(Struct, frozen=True):
    """A box: its column, counted from 0, and its row, which need not be whole."""

    column: int
    row: float


class Layout(Struct, frozen=True):
    """The place of each box, and for each line from a parent to a child the places that it goes through.

    A line that skips columns has one place in each of them, where nothing else is.
    """

    places: Mapping[str, Place]
    lines: Mapping[tuple[str, str], tuple[Place, ...]]
    columns: int
    rows: float


class _Point(Struct):
    """A box, or a bend of a line that skips this column."""

    column: int
    before: list[int]
    after: list[int]
    row: float = 0.0


def layout(parents: Mapping[str, Sequence[str]]) -> Layout:
    """Lay out boxes, given parents first, each with its parents.

    In a column the boxes are in the order of their neighbours' middles, so that lines seldom cross; then each moves as
    near to that middle as the others leave room.
    """
    points: list[_Point] = []
    at: dict[str, int] = {}
    bends: dict[tuple[str, str], list[int]] = {}
    for key, above in parents.items():
        column = max((points[at[parent]].column + 1 for parent in above), default=0)
        at[key] = len(points)
        points.append(_Point(column, [], []))
        for parent in above:
            bends[parent, key] = _line(points, at[parent], at[key])
    columns = _columns(points)
    _arrange(points, columns)
    top = min((point.row for point in points), default=0.0)
    place = [Place(point.column, point.row - top) for point in points]
    return Layout(
        {key: place[number] for key, number in at.items()},
        {edge: tuple(place[number] for number in line) for edge, line in bends.items()},
        len(columns),
        max((one.row + 1 for one in place), default=0.0),
    )


def _columns(points: Sequence[_Point]) -> list[list[int]]:
    """The numbers of the points of each column."""
    columns: list[list[int]] = [[] for _ in range(max((point.column + 1 for point in points), default=0))]
    for number, point in enumerate(points):
        columns[point.column].append(number)
    return columns


def _line(points: list[_Point], start: int, end: int) -> list[int]:
    """The points from one box to another, with a new one in each column between."""
    line = [start]
    for column in range(points[start].column + 1, points[end].column):
        points.append(_Point(column, [], []))
        line.append(len(points) - 1)
    line.append(end)
    for left, right in pairwise(line):
        points[left].after.append(right)
        points[right].before.append(left)
    return line


def _arrange(points: list[_Point], columns: list[list[int]]) -> None:
    for column in columns:
        for row, number in enumerate(column):
            points[number].row = row
    for sweep in range(SWEEPS):
        downward = sweep % 2 == 0
        for column in columns if downward else reversed(columns):
            middles = {number: _middle(points, number, downward) for number in column}
            column.sort(key=lambda number: (middles[number], points[number].row))
            _settle(points, column, middles)


def _middle(points: list[_Point], number: int, downward: bool) -> float:
    point = points[number]
    rows = [points[other].row for other in (point.before if downward else point.after)]
    return sum(rows) / len(rows) if rows else point.row


def _settle(points: list[_Point], column: list[int], middles: Mapping[int, float]) -> None:
    """Give the column's points rows at least one apart, in their order, with the least squares from where they want.

    Points that would overlap make a block, which goes to the mean of what its points want.
    """
    blocks: list[tuple[float, int]] = []  # the sum of where each point wants the block to begin, and how many they are
    for number in column:
        total, count = middles[number], 1
        while blocks and blocks[-1][0] / blocks[-1][1] + blocks[-1][1] > total / count:
            above, many = blocks.pop()
            total, count = above + total - many * count, many + count
        blocks.append((total, count))
    rest = iter(column)
    for total, count in blocks:
        for offset in range(count):
            points[next(rest)].row = total / count + offset
