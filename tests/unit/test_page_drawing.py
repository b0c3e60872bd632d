"""What the pages draw."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rebuilder.domain.graph_svg import BOX_WIDTH, MARGIN, draw
from rebuilder.domain.lifecycle import State
from rebuilder.web.pages.charts import WIDTH, Scale, parts, tree

CHAIN = {"base": [], "mid": ["base"], "app": ["mid", "base"], "side": ["base"]}


@given(st.dictionaries(st.sampled_from(State), st.integers(1, 1000), min_size=1))
def test_a_bar_is_filled_by_its_parts(counts: dict[State, int]) -> None:
    found = parts(counts)
    assert {part.state: part.count for part in found} == counts
    assert abs(sum(part.width for part in found) - WIDTH) < 0.1
    assert [part.x for part in found] == sorted(part.x for part in found)


def test_nothing_makes_no_bar() -> None:
    assert parts({}) == []


def test_a_time_line_has_what_was_at_its_place_and_what_is_to_come() -> None:
    scale = Scale(100, 200, 150)
    assert (scale.bar(110, 130).x, scale.bar(110, 130).width, scale.now_at) == (100, 200, 500)
    assert scale.bar(150, 300, ahead=True).x + scale.bar(150, 300, ahead=True).width == WIDTH
    assert scale.bar(200, 200).width > 0, "what took no time is still seen"
    assert scale.bar(200, 200).x < WIDTH
    assert Scale(100, 100, 100).bar(100, 100).width > 0


def test_a_drawing_says_what_is_critical() -> None:
    found = draw(CHAIN, {"base": "building"}, ["base", "mid", "app"])
    assert [box.key for box in found.boxes if box.critical] == ["base", "mid", "app"]
    assert [edge.critical for edge in found.edges] == [False, False, True, True], "drawn last, above the others"
    assert found.edges[-1].path.startswith("M")
    assert found.width >= max(box.x for box in found.boxes) + BOX_WIDTH + MARGIN
    assert {box.key: box.state for box in found.boxes}["base"] == "building"


def test_a_tree_has_every_image_once_below_its_first_parent() -> None:
    assert [(branch.key, branch.depth, branch.also) for branch in tree(CHAIN)] == [
        ("base", 0, ()), ("mid", 1, ()), ("app", 2, ("base",)), ("side", 1, ()),
    ]  # fmt: skip
