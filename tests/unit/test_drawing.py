"""The graph as a tree, as a document, and in Graphviz's language."""

from __future__ import annotations

import pytest

from rebuilder.domain import drawing
from rebuilder.domain.drawing import Line
from rebuilder.domain.errors import RequestError
from rebuilder.domain.graph import Graph
from rebuilder.domain.image import Image, Parent, ParentKind


def image(name: str, *parents: str, stage: str = "", external: str = "") -> Image:
    above = [Parent(ParentKind.BASE, f"{parent}:f42") for parent in parents]
    above += [Parent(ParentKind.STAGE, f"{stage}:f42")] if stage else []
    above += [Parent(ParentKind.BASE, external=external)] if external else []
    return Image(name, "f42", tuple(above))


LAYERS = Graph([
    image("base", external="registry.example.com/fedora:42"),
    image("tools"),
    image("httpd", "base"),
    image("web", "httpd", stage="tools"),
    image("both", "httpd", "tools"),
])  # fmt: skip


def test_an_image_stands_under_its_first_base_parent_and_names_the_others() -> None:
    assert drawing.lines(LAYERS, LAYERS.keys, 9) == [
        Line("base:f42", "", ("registry.example.com/fedora:42 (external)",), False),
        Line("tools:f42", "", (), False),
        Line("httpd:f42", "base:f42", (), False),
        Line("web:f42", "httpd:f42", ("tools:f42 (stage)",), False),
        Line("both:f42", "httpd:f42", ("tools:f42",), False),
    ]


def test_an_image_whose_parent_is_not_shown_stands_at_the_edge_and_names_it() -> None:
    assert drawing.lines(LAYERS, ["web:f42"], 9) == [Line("web:f42", "", ("httpd:f42", "tools:f42 (stage)"), False)]


def test_a_deep_chain_goes_on_in_a_tree_of_its_own() -> None:
    chain = Graph([image("0"), *(image(str(at), str(at - 1)) for at in range(1, 5))])
    found = drawing.lines(chain, chain.keys, 2)
    assert [(line.image[0], line.under[:1], line.continued) for line in found] == [
        ("0", "", False), ("1", "0", False), ("2", "1", True), ("3", "", False), ("4", "3", False)
    ]  # fmt: skip
    assert found[3].others == ("2:f42",)


def test_a_family_is_what_an_image_is_built_on_and_what_is_built_on_it() -> None:
    assert drawing.family(LAYERS, "httpd:f42") == {"base:f42", "httpd:f42", "web:f42", "both:f42"}
    with pytest.raises(RequestError, match="unknown image ghost:f42"):
        drawing.family(LAYERS, "ghost:f42")


def test_a_document_has_the_images_and_only_the_edges_between_them() -> None:
    found = drawing.as_document(LAYERS, ["base:f42", "web:f42", "tools:f42"], {"web:f42": "failed"})
    assert found["images"] == [
        {"image": "base:f42", "state": None, "external": ["registry.example.com/fedora:42"]},
        {"image": "tools:f42", "state": None, "external": []},
        {"image": "web:f42", "state": "failed", "external": []},
    ]
    assert found["edges"] == [{"parent": "tools:f42", "child": "web:f42", "kind": "stage"}]


def test_images_that_left_the_inventory_are_drawn_on_what_is_known_of_their_parents() -> None:
    found = drawing.with_gone(LAYERS, [image("gone", "httpd"), image("lost", "nowhere")])
    assert found.parents("gone:f42") == (("httpd:f42", ParentKind.BASE),)
    assert found.parents("lost:f42") == ()


def test_every_state_of_a_rebuild_and_every_reason_to_leave_out_has_a_colour() -> None:
    from rebuilder.domain.affected import Skip
    from rebuilder.domain.lifecycle import State

    assert {*map(str, State), *map(str, Skip)} <= set(drawing.COLOURS)


def test_dot_tells_a_state_by_word_and_colour_and_a_stage_by_dashes() -> None:
    dot = drawing.as_dot(LAYERS, ["tools:f42", "web:f42"], {"web:f42": "failed"})
    assert '"web:f42" [label="web:f42\\nfailed", color="#b3001b", fontcolor="#b3001b"];' in dot
    assert '"tools:f42" -> "web:f42" [style=dashed];' in dot
