"""The graph of container layers as lines of a tree, as JSON and as DOT, which Graphviz itself reads."""

from __future__ import annotations

import json
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Collection, Mapping
from typing import Any

import pytest
from support import servers

from rebuilder.domain import graph_export
from rebuilder.domain.errors import RequestError
from rebuilder.domain.graph import Graph
from rebuilder.domain.image import Image, Parent, ParentKind
from rebuilder.domain.impact import Skip
from rebuilder.domain.labels import LABELS, PLAIN
from rebuilder.domain.lifecycle import State

FEDORA = Parent(ParentKind.BASE, external="registry.example.com/fedora:42")
GO = Parent(ParentKind.STAGE, external="registry.example.com/go:1")
ODD = [
    'q"uote', r"back\slash", r"new\nline", r"\N", "a&b", "a&amp;b", "<b>bold</b>", "{a|b}", "{}", "%s", "ünï",
    "node", "a -> b", "/* x */", "esc\x1b[31m", "nul\x00", "c1\x9b31m", "lf\n", "bidi\u202e",
]  # fmt: skip


def image(name: str, *parents: str, stage: tuple[str, ...] = (), external: tuple[Parent, ...] = ()) -> Image:
    above = [Parent(ParentKind.BASE, f"{parent}:f42") for parent in parents]
    above += [Parent(ParentKind.STAGE, f"{parent}:f42") for parent in stage]
    return Image(name, "f42", (*above, *external))


LAYERS = Graph([
    image("app", "httpd", stage=("builder",), external=(GO,)),
    image("base", external=(FEDORA,)),
    image("builder"),
    image("httpd", "base"),
    image("two", "httpd", "base"),
    image("alone"),
])  # fmt: skip
ALL = [known.key for known in LAYERS.images]


def tree(graph: Graph, keys: Collection[str], deepest: int = 40) -> list[tuple[str, str, str]]:
    """Each line's image, what it stands under, and its other parents in words."""
    return [(line.image, line.under, ", ".join(line.others)) for line in graph_export.lines(graph, keys, deepest)]


def graphviz(dot: str, *options: str) -> str:
    """What Graphviz makes of it; it warns of nothing."""
    servers.need("graphviz", "dot")
    done = subprocess.run(["dot", *options], input=dot.encode(), capture_output=True, check=True)
    assert done.stderr == b""
    return done.stdout.decode()


def read_back(dot: str) -> dict[str, Any]:
    """The nodes by id, and the edges between their ids, as Graphviz read them."""
    found = json.loads(graphviz(dot, "-Tdot_json"))
    names = {node["_gvid"]: node["name"] for node in found.get("objects", [])}
    return {
        "nodes": {node["name"]: node for node in found.get("objects", [])},
        "edges": {(names[e["tail"]], names[e["head"]]): e.get("style") for e in found.get("edges", [])},
    }


def texts(dot: str) -> list[str]:
    """What can be read in the drawing."""
    return [found.text or "" for found in ElementTree.fromstring(graphviz(dot, "-Tsvg")).iter() if
            found.tag.endswith("}text")]  # fmt: skip


def dot_of(graph: Graph, states: Mapping[str, str] | None = None) -> str:
    return graph_export.as_dot(graph, [known.key for known in graph.images], states or {})


def test_every_image_stands_once_under_its_first_base_parent_and_names_the_others() -> None:
    assert tree(LAYERS, ALL) == [
        ("base:f42", "", "registry.example.com/fedora:42 (external)"),
        ("httpd:f42", "base:f42", ""),
        ("builder:f42", "", ""),
        ("app:f42", "httpd:f42", "builder:f42 (stage), registry.example.com/go:1 (external, stage)"),
        ("two:f42", "httpd:f42", "base:f42"),
        ("alone:f42", "", ""),
    ]


def test_an_image_with_no_base_parent_that_is_shown_stands_at_the_edge_and_still_names_its_parents() -> None:
    assert tree(LAYERS, ["app:f42", "builder:f42", "two:f42", "base:f42"]) == [
        ("base:f42", "", "registry.example.com/fedora:42 (external)"),
        ("builder:f42", "", ""),
        ("app:f42", "", "httpd:f42, builder:f42 (stage), registry.example.com/go:1 (external, stage)"),
        ("two:f42", "base:f42", "httpd:f42"),
    ]


def test_an_image_that_is_base_and_stage_of_another_is_its_base() -> None:
    layers = Graph([image("base"), image("app", "base", stage=("base",))])
    assert tree(layers, ["base:f42", "app:f42"])[1] == ("app:f42", "base:f42", "")


def test_a_chain_deeper_than_what_is_wanted_goes_on_in_trees_of_their_own() -> None:
    chain = Graph([image("0"), *(image(str(n), str(n - 1)) for n in range(1, 8))])
    found = graph_export.lines(chain, [known.key for known in chain.images], 2)
    assert [line.image for line in found] == [f"{n}:f42" for n in range(8)]
    assert [line.image for line in found if not line.under] == ["0:f42", "3:f42", "6:f42"]
    assert [line.image for line in found if line.continued] == ["2:f42", "5:f42"]
    assert [line.others for line in found if not line.under] == [(), ("2:f42",), ("5:f42",)]


def test_a_chain_of_ten_thousand_images_is_drawn() -> None:
    chain = Graph([image("0"), *(image(str(n), str(n - 1)) for n in range(1, 10_000))])
    keys = [known.key for known in chain.images]
    assert len(graph_export.lines(chain, keys, 40)) == 10_000
    assert len(graph_export.as_document(chain, keys, {})["edges"]) == 9_999
    assert graph_export.as_dot(chain, keys, {}).count("->") == 9_999


def test_the_family_of_an_image_is_what_it_is_built_on_and_what_is_built_on_it() -> None:
    assert graph_export.family(LAYERS, "httpd:f42") == {"base:f42", "httpd:f42", "app:f42", "two:f42"}
    assert graph_export.family(LAYERS, "builder:f42") == {"builder:f42", "app:f42"}
    assert graph_export.family(LAYERS, "alone:f42") == {"alone:f42"}
    with pytest.raises(RequestError, match="unknown image ghost:f42"):
        graph_export.family(LAYERS, "ghost:f42")


def test_the_document_has_the_images_and_the_edges_between_them_alone() -> None:
    assert graph_export.as_document(LAYERS, ["app:f42", "httpd:f42", "builder:f42"], {"app:f42": "failed"}) == {
        "images": [
            {"image": "httpd:f42", "state": None, "external": []},
            {"image": "builder:f42", "state": None, "external": []},
            {"image": "app:f42", "state": "failed",
             "external": [{"name": "registry.example.com/go:1", "kind": "stage"}]},
        ],
        "edges": [
            {"parent": "httpd:f42", "child": "app:f42", "kind": "base"},
            {"parent": "builder:f42", "child": "app:f42", "kind": "stage"},
        ],
    }  # fmt: skip


def test_images_that_left_the_inventory_come_back_on_those_of_their_parents_that_are_known() -> None:
    gone = [image("late", "httpd", "lost", external=(FEDORA,)), image("later", "late")]
    layers = graph_export.with_gone(LAYERS, gone)
    assert tree(layers, ["httpd:f42", "late:f42", "later:f42"]) == [
        ("httpd:f42", "", "base:f42"),
        ("late:f42", "httpd:f42", "registry.example.com/fedora:42 (external)"),
        ("later:f42", "late:f42", ""),
    ]


def test_graphviz_reads_the_images_the_edges_and_what_is_external() -> None:
    found = read_back(dot_of(LAYERS))
    labels = {name: node["label"] for name, node in found["nodes"].items()}
    assert labels == {
        **{key: key for key in ALL}, "external0": "registry.example.com/fedora:42",
        "external1": "registry.example.com/go:1",
    }  # fmt: skip
    assert found["edges"] == {
        ("base:f42", "httpd:f42"): None, ("httpd:f42", "app:f42"): None, ("builder:f42", "app:f42"): "dashed",
        ("httpd:f42", "two:f42"): None, ("base:f42", "two:f42"): None,
        ("external0", "base:f42"): None, ("external1", "app:f42"): "dashed",
    }  # fmt: skip


def test_an_external_parent_of_several_images_is_drawn_once() -> None:
    layers = Graph([image("a", external=(FEDORA,)), image("b", external=(FEDORA,)), image("external0")])
    found = read_back(dot_of(layers))
    assert set(found["nodes"]) == {"a:f42", "b:f42", "external0:f42", "external0"}
    assert set(found["edges"]) == {("external0", "a:f42"), ("external0", "b:f42")}


def test_a_state_is_a_word_and_a_colour_in_the_drawing() -> None:
    dot = dot_of(LAYERS, {"base:f42": "failed", "httpd:f42": "blocked"})
    nodes = read_back(dot)["nodes"]
    assert nodes["base:f42"]["label"] == r"base:f42\nfailed"
    assert nodes["base:f42"]["color"] == nodes["base:f42"]["fontcolor"] == LABELS["failed"].colour
    assert nodes["httpd:f42"]["color"] == LABELS["blocked"].colour
    assert "color" not in nodes["alone:f42"]
    assert {"base:f42", "failed", "httpd:f42", "blocked"} <= set(texts(dot))


def test_every_state_and_every_reason_for_leaving_out_has_a_colour() -> None:
    assert {word for word, label in LABELS.items() if label.colour != PLAIN} == {*State, *Skip, "rebuild"}


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_a_name_is_shown_letter_by_letter_whatever_is_in_it(name: str) -> None:
    layers = Graph([image("base"), image(name, "base", external=(Parent(ParentKind.BASE, external=name),))])
    written = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)
    for states in ({}, {f"{name}:f42": "failed"}):
        dot = dot_of(layers, states)
        assert len(read_back(dot)["edges"]) == 2
        assert sorted(texts(dot)) == sorted(["base:f42", f"{written}:f42", written, *states.values()])


def test_names_that_look_alike_stay_two_images() -> None:
    layers = Graph([image(r"a\b"), image("a&b"), image("a&amp;b"), image("a"), image("a\\\\b")])
    assert len(read_back(dot_of(layers))["nodes"]) == 5


def test_nothing_to_draw_is_an_empty_drawing() -> None:
    assert read_back(graph_export.as_dot(LAYERS, [], {})) == {"nodes": {}, "edges": {}}
    assert graph_export.as_document(LAYERS, [], {}) == {"images": [], "edges": []}
    assert graph_export.lines(LAYERS, [], 40) == []
