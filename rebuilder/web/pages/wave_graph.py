"""The graph of a large wave: images of one layer and state are one box, until somebody opens it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from urllib.parse import quote, urlencode

from markupsafe import Markup
from msgspec import Struct
from msgspec.structs import replace

from rebuilder.domain import graph_svg
from rebuilder.domain.graph_svg import Box, Drawing, Look
from rebuilder.domain.lifecycle import RebuildRecord

SHOWN = 22  # letters of a name
OPENED = 60  # images of a box that is opened: the others stay together
MOST_OPEN = 2


class Group(Struct, frozen=True):
    """A box that stands for several images. `href` opens it, or lists what is left of it where it is open."""

    count: int
    level: int
    href: str


class WaveGraph(Struct, frozen=True):
    """A drawing, the boxes of it that stand for several images, and what is open: names with the query that closes."""

    drawing: Drawing
    groups: Mapping[str, Group]
    opened: Mapping[str, str]

    def svg(self, label: str) -> Markup:
        """The drawing: the boxes are links, and those that stand for several images come first."""
        first = sorted(self.drawing.boxes, key=lambda box: box.key not in self.groups)
        return Markup(graph_svg.as_svg(replace(self.drawing, boxes=tuple(first)), label, self._look))

    def _look(self, box: Box) -> Look:
        group = self.groups.get(box.key)
        if group is None:
            name = box.key if len(box.key) <= SHOWN else f"{box.key[:SHOWN - 1]}…"
            href = f"/images/{quote(box.key, safe=':')}"
            return Look(name, box.state, f"{box.key}: {box.state}", href, f"s-{box.state}", box.state)
        title = f"{group.count} images of layer {group.level}: {box.state}. Open"
        label = f"{group.count} image{'s' if group.count != 1 else ''}"
        return Look(label, box.state, title, group.href, f"group s-{box.state}", box.state)


def collapsed(
    entries: Sequence[RebuildRecord], parents: Mapping[str, Sequence[str]], requested: Collection[str],
    critical: Sequence[str],
) -> WaveGraph:
    """The graph with the images of each layer and state as one box, but for the boxes that are wanted open."""
    boxes = _Boxes.of(entries, requested, critical)
    states = {boxes.names[entry.image]: str(entry.state) for entry in entries}
    path = list(dict.fromkeys(boxes.names[image] for image in critical))
    drawing = graph_svg.draw(_edges(entries, parents, boxes.names), states, path)
    closing = {name: _query([other for other in boxes.opened if other != name]) for name in boxes.opened}
    return WaveGraph(drawing, boxes.groups(entries), closing)


class _Boxes(Struct, frozen=True):
    """In which box each image is: `names` has the image itself, or a group. `left` counts what a group stands for."""

    names: Mapping[str, str]
    opened: Sequence[str]
    left: Mapping[str, int]

    @classmethod
    def of(cls, entries: Iterable[RebuildRecord], requested: Collection[str], critical: Collection[str]) -> _Boxes:
        """Of a box that is open, the images that decide when the wave is done have a box of their own first."""
        left = Counter(map(_group, entries))
        opened = [name for name in dict.fromkeys(requested) if left[name] > 1][-MOST_OPEN:]
        alone = {name for name, count in left.items() if count == 1}
        room = dict.fromkeys(opened, OPENED)
        names = {}
        for entry in sorted(entries, key=lambda entry: entry.image not in critical):
            group = _group(entry)
            if group in alone or room.get(group, 0) > 0:
                names[entry.image] = entry.image
                room[group] = room.get(group, 0) - 1
                left[group] -= 1
            else:
                names[entry.image] = group
        return cls(names, opened, left)

    def groups(self, entries: Iterable[RebuildRecord]) -> dict[str, Group]:
        """The boxes that stand for several images, by their names."""
        groups: dict[str, Group] = {}
        for entry in entries:
            name = self.names[entry.image]
            if name != entry.image and name not in groups:
                groups[name] = Group(self.left[name], entry.level, self._href(entry, name))
        return groups

    def _href(self, entry: RebuildRecord, name: str) -> str:
        if name in self.opened:
            return f"/rebuilds?wave={entry.wave_id}&state={entry.state}"
        return f"{_query([*self.opened, name])}#graph"


def _edges(
    entries: Iterable[RebuildRecord], parents: Mapping[str, Sequence[str]], names: Mapping[str, str]
) -> dict[str, list[str]]:
    """The boxes above each box; between images of the same layer there are none, as boxes could lead to each other."""
    levels = {entry.image: entry.level for entry in entries}
    edges: dict[str, dict[str, None]] = {}
    for entry in sorted(entries, key=lambda entry: entry.level):
        above = (names[parent] for parent in parents.get(entry.image, ()) if levels[parent] < entry.level)
        edges.setdefault(names[entry.image], {}).update(dict.fromkeys(above))
    return {name: list(above) for name, above in edges.items()}


def _group(entry: RebuildRecord) -> str:
    return f"{entry.level}-{entry.state}"


def _query(opened: Sequence[str]) -> str:
    return "?" + urlencode([("open", name) for name in dict.fromkeys(opened)])
