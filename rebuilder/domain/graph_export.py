"""The graph of container layers as people and programs see it: lines of a tree, JSON, Graphviz DOT.

Pure: each function takes the graph, the images to show, and the word for the state of those that have one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from rebuilder.domain.graph import Graph
from rebuilder.domain.image import Image, Parent, ParentKind
from rebuilder.domain.labels import label_of
from rebuilder.domain.naming import meant

OUTSIDE = 'style=dashed, color="#767676", fontcolor="#595959"'


class Line(Struct, frozen=True):
    """An image in the tree: the parent it stands `under`, empty at the left edge, and in words its other parents.

    Where `continued`, images that would stand under it begin trees of their own, because the tree is deep already.
    """

    image: str
    under: str
    others: tuple[str, ...]
    continued: bool


def family(graph: Graph, key: str) -> set[str]:
    """The image, all it is built on, and all that is built on it. Raises RequestError for an unknown image."""
    keys = [meant(key, graph.keys)]
    return {*keys, *graph.ancestors(keys), *graph.descendants(keys)}


def with_gone(graph: Graph, gone: Iterable[Image]) -> Graph:
    """The graph with images that have left the inventory, on those of their parents that are known."""
    images = (*graph.images, *gone)
    keys = {image.key for image in images}
    return Graph(
        replace(image, parents=tuple(parent for parent in image.parents if parent.external or parent.image in keys))
        for image in images
    )


def lines(graph: Graph, keys: Collection[str], deepest: int) -> list[Line]:
    """The images as a tree, parents first: each under its first base parent that is shown.

    Where that would be more than `deepest` steps from the edge, a new tree begins: chains may be of any length.
    """
    depths: dict[str, int] = {}
    under: dict[str, str] = {}
    continued = set()
    for key in graph.in_order(keys):
        parent = next((name for name, kind in graph.parents(key) if kind is ParentKind.BASE and name in depths), "")
        depth = depths[parent] + 1 if parent else 0
        if depth > deepest:
            continued.add(parent)
            parent, depth = "", 0
        depths[key], under[key] = depth, parent
    return [Line(key, above, tuple(_others(graph, key, above)), key in continued) for key, above in under.items()]


def _others(graph: Graph, key: str, under: str) -> Iterator[str]:
    for parent, kind in graph.parents(key):
        if parent != under:
            yield parent if kind is ParentKind.BASE else f"{parent} ({kind})"
    for outside in external(graph, key):
        yield f"{outside} (external)" if outside.kind is ParentKind.BASE else f"{outside} (external, {outside.kind})"


def external(graph: Graph, key: str) -> tuple[Parent, ...]:
    """The external parents of an image, each once."""
    return tuple(dict.fromkeys(parent for parent in graph.image(key).parents if parent.external))


def as_document(graph: Graph, keys: Collection[str], states: Mapping[str, str]) -> dict[str, Any]:
    """The images, parents first, and the edges between them, as scripts read them."""
    ordered = graph.in_order(keys)
    return {
        "images": [
            {"image": key, "state": states.get(key),
             "external": [{"name": str(parent), "kind": str(parent.kind)} for parent in external(graph, key)]}
            for key in ordered
        ],
        "edges": [
            {"parent": parent, "child": child, "kind": str(kind)}
            for parent, child, kind in edges(graph, ordered)
        ],
    }


def edges(graph: Graph, ordered: Collection[str]) -> Iterator[tuple[str, str, ParentKind]]:
    """Parent, child and kind of each edge between these images."""
    shown = frozenset(ordered)
    return (
        (parent, child, kind) for child in ordered for parent, kind in graph.parents(child) if parent in shown
    )


def as_dot(graph: Graph, keys: Collection[str], states: Mapping[str, str]) -> str:
    """The same for Graphviz. A state is a word and a colour; an edge that is no base is dashed; what is external, grey.

    The id of an external parent has no colon, so it is never that of an image.
    """
    ordered = graph.in_order(keys)
    outside = [(parent, key) for key in ordered for parent in external(graph, key)]
    ids = {key: f'"{_escaped(key)}"' for key in ordered}
    specs = dict.fromkeys(str(parent) for parent, _ in outside)
    externals = {spec: f"external{number}" for number, spec in enumerate(specs)}
    nodes = [f"  {ids[key]}{_looks(key, states.get(key, ''))};" for key in ordered]
    nodes += [f'  {name} [label="{_escaped(spec)}", {OUTSIDE}];' for spec, name in externals.items()]
    arrows = [_arrow(ids[parent], ids[child], kind) for parent, child, kind in edges(graph, ordered)]
    arrows += [_arrow(externals[str(parent)], ids[key], parent.kind) for parent, key in outside]
    return "\n".join(["digraph layers {", "  rankdir=LR;", '  node [shape=box, fontname="sans-serif"];',
                      *nodes, *arrows, "}\n"])  # fmt: skip


def _arrow(parent: str, child: str, kind: ParentKind) -> str:
    return f"  {parent} -> {child}{'' if kind is ParentKind.BASE else ' [style=dashed]'};"


def _looks(key: str, state: str) -> str:
    """The label always, because a default one would be the id, in which Graphviz shows backslashes twice."""
    if not state:
        return f' [label="{_escaped(key)}"]'
    colour = label_of(state).colour
    return f' [label="{_escaped(key)}\\n{_escaped(state)}", color="{colour}", fontcolor="{colour}"]'


def _escaped(text: str) -> str:
    """The text for between quotes in DOT, where Graphviz shows it letter by letter; what has no shape as its code."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")
