"""The graph of a large wave: images of one layer and state are one box, until somebody opens it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from rebuilder.store.rebuilds import RebuildRecord
from rebuilder.web.pages import graph_svg
from rebuilder.web.pages.graph_svg import Drawing

OPENED = 60  # images of a box that is opened: the others stay together
MOST_OPEN = 2


@dataclass(frozen=True, slots=True)
class Group:
    """A box that stands for several images. `href` opens it, or lists what is left of it where it is open."""

    count: int
    level: int
    href: str


@dataclass(frozen=True, slots=True)
class WaveGraph:
    """A drawing, the boxes of it that stand for several images, and what is open: names with the query that closes."""

    drawing: Drawing
    groups: Mapping[str, Group]
    opened: Mapping[str, str]


def collapsed(
    entries: Sequence[RebuildRecord], parents: Mapping[str, Sequence[str]], wanted: Collection[str],
    critical: Sequence[str],
) -> WaveGraph:
    """The graph with the images of each layer and state as one box, but for the boxes that are wanted open."""
    counts = Counter(_group(entry) for entry in entries)
    opened = [name for name in dict.fromkeys(wanted) if counts[name] > 1][-MOST_OPEN:]
    nodes, shown = {}, Counter[str]()
    for entry in sorted(entries, key=lambda entry: entry.image not in critical):
        group = _group(entry)
        alone = counts[group] == 1 or (group in opened and shown[group] < OPENED)
        shown[group] += alone
        nodes[entry.image] = entry.image if alone else group
    levels = {entry.image: entry.level for entry in entries}
    edges: dict[str, list[str]] = {}
    for entry in sorted(entries, key=lambda entry: entry.level):
        # Between images of the same layer, boxes could lead to each other.
        above = (nodes[parent] for parent in parents.get(entry.image, ()) if levels[parent] < entry.level)
        edges.setdefault(nodes[entry.image], []).extend(above)
    states = {nodes[entry.image]: str(entry.state) for entry in entries}
    path = list(dict.fromkeys(nodes[image] for image in critical))
    drawing = graph_svg.graph({node: list(dict.fromkeys(above)) for node, above in edges.items()}, states, path)
    groups = {}
    for entry in entries:
        if (group := nodes[entry.image]) != entry.image and group not in groups:
            listed = f"/rebuilds?wave={entry.wave_id}&state={entry.state}"
            href = listed if group in opened else f"{_query([*opened, group])}#graph"
            groups[group] = Group(counts[group] - shown[group], entry.level, href)
    return WaveGraph(drawing, groups, {name: _query([other for other in opened if other != name]) for name in opened})


def _group(entry: RebuildRecord) -> str:
    return f"{entry.level}-{entry.state}"


def _query(opened: Sequence[str]) -> str:
    return "?" + urlencode([("open", name) for name in dict.fromkeys(opened)])
