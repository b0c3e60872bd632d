"""The graph of container layers as SVG: of `graph_layout`'s columns and rows, for the pages and for `rebuilder graph`.

Pure. Whoever asks says what each box shows; on a page the style sheet gives it colours, elsewhere they stand in it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from html import escape
from itertools import pairwise

from msgspec import Struct

from rebuilder.domain.graph import Graph
from rebuilder.domain.graph_export import edges, external
from rebuilder.domain.graph_layout import Place, layout
from rebuilder.domain.image import ParentKind
from rebuilder.domain.labels import label_of

BOX_WIDTH, BOX_HEIGHT, GAP, ROW_HEIGHT, MARGIN = 184.0, 38.0, 56.0, 46.0, 4.0
LETTER = 7.5  # the width of one, on the average
GREY = "#767676"
STYLE = (
    "text{font-family:sans-serif;font-size:12.5px}.word{font-size:11px}.box rect{fill:#fff}"
    f".edge{{fill:none;stroke:{GREY};stroke-width:1.25}}.stage{{stroke-dasharray:5 4}}"
)


class Box(Struct, frozen=True):
    """An image in the graph. `critical` where its build decides when all is done."""

    key: str
    state: str
    x: float
    y: float
    critical: bool


class Edge(Struct, frozen=True):
    """A line of the graph, from a parent to a child, as the data of an SVG path."""

    parent: str
    child: str
    path: str
    critical: bool


class Drawing(Struct, frozen=True):
    """A graph as it is drawn, base images at the left."""

    boxes: tuple[Box, ...]
    edges: tuple[Edge, ...]
    width: float
    height: float
    box_width: float


class Look(Struct, frozen=True):
    """What a box shows: its label, a word below it, a title for the pointer, and where it leads.

    `mark` is a class of the style sheet, `icon` the name of one of the page's; `colour` is for where there are neither.
    """

    label: str
    word: str
    title: str
    href: str = ""
    mark: str = ""
    icon: str = ""
    colour: str = ""


def draw(
    parents: Mapping[str, Sequence[str]], states: Mapping[str, str], critical: Sequence[str] = (),
    box_width: float = BOX_WIDTH,
) -> Drawing:
    """The graph of these images, given parents first, each with its parents."""
    grid = layout(parents)
    along = set(pairwise(critical))
    boxes = tuple(
        Box(key, states.get(key, ""), _x(place, box_width), _y(place), key in critical)
        for key, place in grid.places.items()
    )
    lines = sorted(
        (Edge(*edge, _path(places, box_width), edge in along) for edge, places in grid.lines.items()),
        key=lambda edge: edge.critical,
    )
    width = max(0.0, (grid.columns - 1) * (box_width + GAP) + box_width) + 2 * MARGIN
    height = max(0.0, (grid.rows - 1) * ROW_HEIGHT + BOX_HEIGHT) + 2 * MARGIN
    return Drawing(boxes, tuple(lines), round(width, 1), round(height, 1), box_width)


def _x(place: Place, box_width: float) -> float:
    return round(MARGIN + place.column * (box_width + GAP), 1)


def _y(place: Place) -> float:
    return round(MARGIN + place.row * ROW_HEIGHT, 1)


def _path(places: Sequence[Place], box_width: float) -> str:
    """From the right side of the first box to the left side of the last, through the columns between."""
    middle = BOX_HEIGHT / 2
    x, y = _x(places[0], box_width) + box_width, _y(places[0]) + middle
    written = [f"M{x:g} {y:g}"]
    for place in places[1:]:
        to_x, to_y = _x(place, box_width), _y(place) + middle
        bend = (to_x - x) / 2
        written.append(f"C{x + bend:g} {y:g} {to_x - bend:g} {to_y:g} {to_x:g} {to_y:g}")
        x, y = to_x, to_y
        if place is not places[-1]:
            x += box_width
            written.append(f"H{x:g}")
    return "".join(written)


def as_svg(drawing: Drawing, label: str, look: Callable[[Box], Look], stages: Collection[tuple[str, str]] = ()) -> str:
    """The drawing as an SVG element. `stages` are the edges to parents that are no base."""
    size = f'width="{drawing.width}" height="{drawing.height}" viewBox="0 0 {drawing.width} {drawing.height}"'
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" class="graph" {size} role="group" aria-label="{_text(label)}">']
    for edge in drawing.edges:
        kind = f"edge{' critical' if edge.critical else ''}{' stage' if (edge.parent, edge.child) in stages else ''}"
        lines.append(f'<path class="{kind}" d="{edge.path}"/>')
    for box in drawing.boxes:
        lines += _box(box, look(box), drawing.box_width)
    return "\n".join([*lines, "</svg>"])


def _box(box: Box, look: Look, width: float) -> Iterator[str]:
    kinds = ["box", look.mark, "critical" if box.critical else ""]
    element, link = ("a", f' href="{_text(look.href)}"') if look.href else ("g", "")
    stroke, fill = (f' stroke="{look.colour}"', f' fill="{look.colour}"') if look.colour else ("", "")
    at = box.x + (33 if look.icon else 10)
    yield f'<{element}{link} class="{_text(" ".join(filter(None, kinds)))}">'
    yield f"<title>{_text(look.title)}</title>"
    yield f'<rect x="{box.x}" y="{box.y}" width="{width:g}" height="{BOX_HEIGHT:g}" rx="7"{stroke}/>'
    if look.icon:
        place = f'x="{box.x + 9}" y="{box.y + 11}" width="16" height="16"'
        yield f'<svg class="icon" {place}><use href="#i-{_text(look.icon)}"/></svg>'
    yield f'<text class="label" x="{at}" y="{box.y + (16.5 if look.word else 23)}">{_text(look.label)}</text>'
    if look.word:
        yield f'<text class="word" x="{at}" y="{box.y + 30}"{fill}>{_text(look.word)}</text>'
    yield f"</{element}>"


def _text(text: str) -> str:
    """The text for SVG, letter by letter; what has no shape of its own as its code."""
    return escape("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text))


def of_layers(graph: Graph, keys: Collection[str], states: Mapping[str, str]) -> str:
    """The images as a picture of its own, with the external parents that they name."""
    ordered = graph.in_order(keys)
    outside = {(_outside(str(parent)), key): parent.kind for key in ordered for parent in external(graph, key)}
    inside = {(parent, child): kind for parent, child, kind in edges(graph, ordered)}
    kinds = outside | inside
    parents: dict[str, list[str]] = {key: [] for key in (*(above for above, _ in outside), *ordered)}
    for parent, child in kinds:
        parents[child].append(parent)
    labels = {key: key.removeprefix(_outside("")) for key in parents}
    widest = max(map(len, labels.values()), default=0)

    def look(box: Box) -> Look:
        label, colour = labels[box.key], label_of(box.state).colour if box.key in graph.keys else GREY
        return Look(label, box.state, f"{label}: {box.state}" if box.state else label, colour=colour)

    drawing = draw(parents, states, box_width=max(BOX_WIDTH, LETTER * widest + 20))
    svg = as_svg(drawing, "Container layers", look, {edge for edge, kind in kinds.items() if kind is ParentKind.STAGE})
    head, _, rest = svg.partition("\n")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{head}\n<style>{STYLE}</style>\n{rest}\n'


def _outside(spec: str) -> str:
    """The key of an external parent: no image has a key with a blank."""
    return f"external {spec}"
