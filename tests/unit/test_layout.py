"""Where the boxes of a layered graph go."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from rebuilder.domain.graph_layout import Place, layout


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, list[str]]:
    return {
        str(at): [str(p) for p in sorted(draw(st.sets(st.integers(0, at - 1), max_size=3)))] if at else []
        for at in range(draw(st.integers(0, 25)))
    }


def test_nothing_has_no_columns() -> None:
    found = layout({})
    assert (found.columns, found.rows, found.places) == (0, 0, {})


def test_a_chain_is_a_straight_line() -> None:
    found = layout({"base": [], "mid": ["base"], "app": ["mid"]})
    assert list(found.places.values()) == [Place(0, 0), Place(1, 0), Place(2, 0)]


def test_a_parent_stands_at_the_middle_of_its_children() -> None:
    found = layout({"base": [], "a": ["base"], "b": ["base"], "c": ["base"]})
    assert found.places["base"] == Place(0, found.places["b"].row)


def test_families_side_by_side_do_not_cross() -> None:
    found = layout({"x": [], "y": [], "x1": ["x"], "y1": ["y"], "x2": ["x"], "y2": ["y"]})
    order = sorted(("x1", "x2", "y1", "y2"), key=lambda key: found.places[key].row)
    assert {frozenset(order[:2]), frozenset(order[2:])} == {frozenset({"x1", "x2"}), frozenset({"y1", "y2"})}


def test_a_line_that_skips_a_column_goes_around_what_is_there() -> None:
    found = layout({"base": [], "mid": ["base"], "app": ["mid", "base"]})
    start, bend, end = found.lines["base", "app"]
    assert (start, bend.column, end) == (found.places["base"], 1, found.places["app"])
    assert abs(bend.row - found.places["mid"].row) >= 1


@given(graphs())
def test_nothing_overlaps_and_lines_go_one_column_at_a_time(parents: dict[str, list[str]]) -> None:
    found = layout(parents)
    assert found.places.keys() == parents.keys()
    assert found.lines.keys() == {(parent, child) for child, above in parents.items() for parent in above}
    taken = set(found.places.values()).union(*(line[1:-1] for line in found.lines.values()))
    by_column: dict[int, list[float]] = {}
    for place in taken:
        by_column.setdefault(place.column, []).append(place.row)
    for rows in by_column.values():
        assert all(lower - upper > 0.999 for upper, lower in pairwise(sorted(rows)))
    for line in found.lines.values():
        assert [place.column for place in line] == list(range(line[0].column, line[-1].column + 1))
    assert all(0 <= place.row <= found.rows - 1 + 1e-9 and place.column < found.columns for place in taken)


@given(graphs())
def test_the_same_graph_is_always_laid_out_the_same(parents: dict[str, list[str]]) -> None:
    assert layout(parents) == layout(dict(parents))
