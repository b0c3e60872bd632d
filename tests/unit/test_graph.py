"""The graph of container layers."""

from __future__ import annotations

from itertools import pairwise

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebuilder.domain.errors import RequestError
from rebuilder.domain.graph import Graph
from rebuilder.domain.image import Image, Parent, ParentKind

BASE, STAGE = ParentKind.BASE, ParentKind.STAGE


def image(name: str, *parents: str, stage: tuple[str, ...] = ()) -> Image:
    above = [Parent(BASE, f"{p}:default") for p in parents] + [Parent(STAGE, f"{p}:default") for p in stage]
    return Image(name, parents=tuple(above))


def names(keys: object) -> list[str]:
    return [key.removesuffix(":default") for key in keys]  # type: ignore[attr-defined]


def test_a_cycle_is_named_in_full() -> None:
    with pytest.raises(RequestError) as error:
        Graph([image("root"), image("a", "c"), image("b", "a"), image("c", "b"), image("below", "c", "root")])
    told = names(str(error.value).removeprefix("parent cycle: ").split(" -> "))
    assert told[0] == told[-1]
    assert sorted(told[1:]) == ["a", "b", "c"]
    assert set(pairwise(told)) == {("a", "c"), ("b", "a"), ("c", "b")}


def test_an_image_built_on_itself_is_a_cycle() -> None:
    with pytest.raises(RequestError, match="parent cycle: a:default -> a:default"):
        Graph([image("a", "a")])


def test_a_cycle_through_a_stage_is_a_cycle() -> None:
    with pytest.raises(RequestError, match="parent cycle"):
        Graph([image("a", stage=("b",)), image("b", "a")])


def test_an_image_named_twice_is_refused() -> None:
    with pytest.raises(RequestError, match="a:default is defined twice"):
        Graph([image("a"), image("b"), image("a")])


def test_the_same_name_in_two_streams_is_two_images() -> None:
    assert len(Graph([Image("a", "f41"), Image("a", "f42")])) == 2


def test_an_unknown_parent_is_named() -> None:
    with pytest.raises(RequestError, match="image a:default: unknown parent ghost:default"):
        Graph([image("a", "ghost")])


def test_an_unknown_image_is_named() -> None:
    with pytest.raises(RequestError, match="unknown image ghost:default"):
        Graph([image("a")]).image("ghost:default")


def test_an_external_parent_is_no_edge() -> None:
    graph = Graph([Image("a", parents=(Parent(BASE, external="registry.example.org/fedora:42"),))])
    assert graph.parents("a:default") == ()
    assert "registry.example.org/fedora:42" not in graph


def test_a_parent_that_is_base_and_stage_is_a_base() -> None:
    for child in (image("b", "a", stage=("a",)), Image("b", parents=image("b", "a", stage=("a",)).parents[::-1])):
        assert Graph([image("a"), child]).parents("b:default") == (("a:default", BASE),)


def test_children_come_as_the_inventory_has_them() -> None:
    graph = Graph([image("c", "a"), image("a"), image("b", "a"), image("d", "b")])
    assert names(graph.children("a:default")) == ["c", "b"]


def test_descendants_stop_at_edges_of_other_kinds() -> None:
    graph = Graph([image("a"), image("b", "a"), image("c", stage=("b",)), image("d", "c")])
    assert sorted(names(graph.descendants(["a:default"]))) == ["b", "c", "d"]
    assert names(graph.descendants(["a:default"], frozenset({BASE}))) == ["b"]


def test_ancestors_are_everything_above_through_edges_of_every_kind() -> None:
    graph = Graph([image("a"), image("b", "a"), image("other"), image("c", "b", stage=("other",)), image("d", "c")])
    assert sorted(names(graph.ancestors(["c:default"]))) == ["a", "b", "other"]
    assert sorted(names(graph.ancestors(["b:default", "other:default"]))) == ["a"]


def test_networkx_sees_the_same_graph() -> None:
    graph = Graph([image("a"), image("b", "a"), image("c", stage=("b",))])
    assert set(graph.nx.edges(data="kind")) == {
        ("a:default", "b:default", "base"),
        ("b:default", "c:default", "stage"),
    }


@st.composite
def layers(draw: st.DrawFn) -> list[Image]:
    """Images of a random graph without cycles, in a random order."""
    count = draw(st.integers(1, 8))
    images = [
        image(str(at), *(str(p) for p in draw(st.sets(st.integers(0, at - 1), max_size=3)))) if at else image("0")
        for at in range(count)
    ]
    return draw(st.permutations(images))


@given(layers())
def test_the_order_has_parents_first_and_every_image_once(images: list[Image]) -> None:
    graph = Graph(images)
    order = list(graph.ordered())
    assert sorted(order) == sorted(image.key for image in images)
    assert all(order.index(parent) < order.index(key) for key in order for parent, _ in graph.parents(key))
    assert graph.in_order(reversed(order)) == order
    for key in order:
        assert graph.descendants([key]) == nx.descendants(graph.nx, key)
        assert graph.ancestors([key]) == nx.ancestors(graph.nx, key)


@given(layers(), st.data())
def test_layers_are_the_chosen_images_with_their_parents_among_them(images: list[Image], data: st.DataObject) -> None:
    graph = Graph(images)
    for chosen in (set(graph.keys), data.draw(st.sets(st.sampled_from(sorted(graph.keys))))):
        found, among = graph.layers(chosen), graph.nx.subgraph(chosen)
        levels = {key: at for at, keys in enumerate(nx.topological_generations(among)) for key in keys}
        assert list(found.names) == graph.in_order(chosen)
        assert list(found.levels) == [levels[key] for key in found.names]
        for at, key in enumerate(found.names):
            assert {found.names[parent] for parent in found.after[at]} == set(among.predecessors(key))
            assert set(found.bases[at]) <= set(found.after[at])
        for known in (chosen, sorted(graph.keys), found.names):
            assert list(found.each({key: key for key in known})) == found.names


def test_images_given_parents_first_stay_in_their_order() -> None:
    given = [image("base"), image("app", "base"), image("other"), image("top", "other", stage=("app",)), image("last")]
    assert list(Graph(given).ordered()) == [known.key for known in given]


def test_an_image_given_before_its_parents_comes_right_after_them() -> None:
    given = [
        image("top", "left", "right"), image("alone"), image("right", "base"), image("left", "base"), image("base"),
    ]
    assert names(Graph(given).ordered()) == ["base", "left", "right", "top", "alone"]
