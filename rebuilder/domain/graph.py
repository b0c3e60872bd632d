"""The dependency graph of container layers.

`networkx` is its public face; the plain arrays that planning walks stay inside this file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from rebuilder.domain.errors import RequestError, UnknownError
from rebuilder.domain.image import Image, ParentKind

if TYPE_CHECKING:
    import networkx as nx


class Cycle(RequestError):
    """Images that are, in the end, built on themselves: `path` leads from one back to it."""

    def __init__(self, path: Sequence[str]) -> None:
        super().__init__(f"parent cycle: {' -> '.join(path)}")
        self.path = path


class Graph:
    """Images and what they are built on. Made once, never changed; acyclic.

    Raises RequestError for an image named twice, a parent that is not there, or a cycle (named in full).
    """

    def __init__(self, images: Iterable[Image]) -> None:
        self.images: tuple[Image, ...] = tuple(images)
        self._names = [image.key for image in self.images]
        self._place: dict[str, int] = {name: place for place, name in enumerate(self._names)}
        if len(self._place) != len(self.images):
            twice = next(name for place, name in enumerate(self._names) if self._place[name] != place)
            raise RequestError(f"image {twice} is there twice")
        self._parents = [self._edges_of(image) for image in self.images]
        self._order = self._sorted()

    def _edges_of(self, image: Image) -> tuple[tuple[int, ParentKind], ...]:
        edges: dict[int, ParentKind] = {}
        for parent in image.parents:
            if not parent.image:
                continue
            place = self._place.get(parent.image)
            if place is None:
                raise RequestError(f"image {image.key}: unknown parent {parent.image}")
            if edges.get(place) is not ParentKind.BASE:
                edges[place] = parent.kind
        return tuple(edges.items())

    def _sorted(self) -> list[int]:
        """Parents first, and otherwise as given: what is close together in the inventory stays so."""
        order: list[int] = []
        begun, done = bytearray(len(self.images)), bytearray(len(self.images))
        for start in range(len(self.images)):
            todo = [start]
            while todo:
                place = todo[-1]
                above = [parent for parent, _ in self._parents[place] if not done[parent]]
                if above and begun[place]:
                    raise Cycle(self._cycle(place, begun, done))
                if above:
                    begun[place] = 1
                    todo += reversed(above)
                elif not done[todo.pop()]:
                    done[place] = 1
                    order.append(place)
        return order

    def _cycle(self, place: int, begun: Sequence[int], done: Sequence[int]) -> list[str]:
        """The cycle that was closed at this place, from an image back to itself: what is begun leads around it."""
        path: list[int] = []
        while place not in path:
            path.append(place)
            place = next(parent for parent, _ in self._parents[place] if begun[parent] and not done[parent])
        return [self._names[at] for at in [*path[path.index(place) :], place]]

    @cached_property
    def _child_places(self) -> list[list[int]]:
        children: list[list[int]] = [[] for _ in self.images]
        for place, edges in enumerate(self._parents):
            for parent, _ in edges:
                children[parent].append(place)
        return children

    def __contains__(self, key: str) -> bool:
        return key in self._place

    def __len__(self) -> int:
        return len(self.images)

    @property
    def keys(self) -> Collection[str]:
        """The names of all images."""
        return self._place.keys()

    def image(self, key: str) -> Image:
        """The image of that name. Raises UnknownError where there is none."""
        place = self._place.get(key)
        if place is None:
            raise UnknownError(f"unknown image {key}")
        return self.images[place]

    def parents(self, key: str) -> tuple[tuple[str, ParentKind], ...]:
        """The direct parents in the inventory, each with its kind (base where it is both)."""
        return self._named_parents[self._place[key]]

    @cached_property
    def _named_parents(self) -> list[tuple[tuple[str, ParentKind], ...]]:
        names = self._names
        return [tuple([(names[place], kind) for place, kind in edges]) for edges in self._parents]

    def children(self, key: str) -> tuple[str, ...]:
        """The images built directly on this one, in the order of the inventory."""
        return tuple(self._names[place] for place in self._child_places[self._place[key]])

    def ordered(self) -> Iterable[str]:
        """All images, parents first."""
        return (self._names[place] for place in self._order)

    def in_order(self, keys: Iterable[str]) -> list[str]:
        """These images, parents first."""
        return [self._names[place] for place in self._places_in_order(keys)]

    def layered(self, keys: Iterable[str]) -> list[tuple[str, tuple[str, ...], int]]:
        """These images, parents first, each with its direct parents among them and its level.

        The level is the number of steps on the longest way down to it from an image that has none of them above.
        """
        names, levels, found = self._names, [-1] * len(self._names), []
        for place in self._places_in_order(keys):
            above = [parent for parent, _ in self._parents[place] if levels[parent] >= 0]
            level = levels[place] = max([levels[parent] for parent in above]) + 1 if above else 0
            found.append((names[place], tuple([names[parent] for parent in above]), level))
        return found

    def _places_in_order(self, keys: Iterable[str]) -> list[int]:
        return sorted(map(self._place.__getitem__, keys), key=self._rank.__getitem__)

    @cached_property
    def _rank(self) -> list[int]:
        """At which place in the order each image comes."""
        rank = [0] * len(self._order)
        for at, place in enumerate(self._order):
            rank[place] = at
        return rank

    def descendants(self, keys: Iterable[str], kinds: frozenset[ParentKind] = frozenset(ParentKind)) -> set[str]:
        """Everything below these images through edges of the given kinds, without the images themselves."""
        start = [self._place[key] for key in keys]
        seen, todo = set(start), list(start)
        while todo:
            place = todo.pop()
            for child in self._child_places[place]:
                if child not in seen and dict(self._parents[child])[place] in kinds:
                    seen.add(child)
                    todo.append(child)
        return {self._names[place] for place in seen.difference(start)}

    def ancestors(self, keys: Iterable[str]) -> set[str]:
        """Everything above these images in the inventory, without the images themselves."""
        start = [self._place[key] for key in keys]
        seen, todo = set(start), list(start)
        while todo:
            for parent, _ in self._parents[todo.pop()]:
                if parent not in seen:
                    seen.add(parent)
                    todo.append(parent)
        return {self._names[place] for place in seen.difference(start)}

    @cached_property
    def nx(self) -> nx.DiGraph[str]:
        """The graph as networkx sees it: an edge from each parent to its child, with its `kind`."""
        import networkx as nx  # a tenth of a second, which most commands need not wait for

        graph: nx.DiGraph[str] = nx.DiGraph()
        graph.add_nodes_from(image.key for image in self.images)
        for image, edges in zip(self.images, self._parents, strict=True):
            graph.add_edges_from((self._names[place], image.key, {"kind": str(kind)}) for place, kind in edges)
        return graph
