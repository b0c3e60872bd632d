"""The dependency graph of container layers.

`networkx` is its public face; the plain arrays that planning walks stay inside this file.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct

from rebuilder.domain.errors import RequestError, UnknownError
from rebuilder.domain.image import Image, ParentKind

if TYPE_CHECKING:
    import networkx as nx


T = TypeVar("T")


class Cycle(RequestError):
    """Images that are, in the end, built on themselves: `path` leads from one back to it."""

    def __init__(self, path: Sequence[str]) -> None:
        super().__init__(f"parent cycle: {' -> '.join(path)}")
        self.path = path


class Subgraph(Struct, frozen=True):
    """Some images, numbered parents first: the numbers of those among them that each is built on, and its level.

    `bases` has those that hand RPMs on to it. The level is the number of steps on the longest way down to it from an
    image that has none of them above.
    """

    names: list[str]
    after: Sequence[tuple[int, ...]]
    bases: Sequence[tuple[int, ...]]
    levels: Sequence[int]

    def each(self, facts: Mapping[str, T]) -> Iterable[T]:
        """What is known of each of these images, in their order. It is looked up only where that is another one."""
        alike = len(facts) == len(self.names) and list(facts) == self.names
        return facts.values() if alike else map(facts.__getitem__, self.names)


def _edges(image: Image, places: Mapping[str, int]) -> dict[int, ParentKind]:
    edges: dict[int, ParentKind] = {}
    for parent in image.parents:
        if not parent.image:
            continue
        place = places.get(parent.image)
        if place is None:
            raise RequestError(f"image {image.key}: unknown parent {parent.image}")
        if edges.get(place) is not ParentKind.BASE:
            edges[place] = parent.kind
    return edges


def _sorted(images: Sequence[Image], parents: Sequence[Collection[int]]) -> list[int]:
    """Parents first, and otherwise as given: what is close together in the inventory stays so."""
    order: list[int] = []
    begun, done = bytearray(len(images)), bytearray(len(images))
    for start in range(len(images)):
        todo = [start]
        while todo:
            place = todo[-1]
            above = [parent for parent in parents[place] if not done[parent]]
            if above and begun[place]:
                raise Cycle([images[at].key for at in _cycle(place, parents, begun, done)])
            if above:
                begun[place] = 1
                todo += reversed(above)
            elif not done[todo.pop()]:
                done[place] = 1
                order.append(place)
    return order


def _cycle(place: int, parents: Sequence[Collection[int]], begun: Sequence[int], done: Sequence[int]) -> list[int]:
    """The cycle that was closed at this place, from an image back to itself: what is begun leads around it."""
    path: list[int] = []
    while place not in path:
        path.append(place)
        place = next(parent for parent in parents[place] if begun[parent] and not done[parent])
    return [*path[path.index(place) :], place]


def _levels(after: Sequence[Sequence[int]]) -> Sequence[int]:
    levels = array("i", [0]) * len(after)
    for at, above in enumerate(after):
        for parent in above:
            if levels[parent] >= levels[at]:
                levels[at] = levels[parent] + 1
    return levels


class Graph:
    """Images, numbered parents first, and what they are built on. Made once, never changed; acyclic.

    Raises RequestError for an image named twice, a parent that is not there, or a cycle (named in full).
    """

    def __init__(self, images: Iterable[Image]) -> None:
        given = tuple(images)
        places = {image.key: place for place, image in enumerate(given)}
        if len(places) != len(given):
            twice = next(image.key for place, image in enumerate(given) if places[image.key] != place)
            raise RequestError(f"image {twice} is defined twice")
        keys = list(places)
        edges = [_edges(image, places) for image in given]
        order = _sorted(given, edges)
        self.images: tuple[Image, ...] = tuple([given[place] for place in order])
        self._names = [keys[place] for place in order]
        self._place: dict[str, int] = {name: place for place, name in enumerate(self._names)}
        self._parents: list[tuple[int, ...]] = []
        self._bases: list[tuple[int, ...]] = []  # those of the parents that hand RPMs on: mostly the same tuple
        self._number(order, edges)

    def _number(self, order: Sequence[int], edges: Sequence[Mapping[int, ParentKind]]) -> None:
        """Each image's parents by their places in the order, in which they come first."""
        number = array("i", [0]) * len(order)
        for at, place in enumerate(order):
            number[place] = at
            parents = tuple([number[parent] for parent in edges[place]])
            bases = tuple([number[parent] for parent, kind in edges[place].items() if kind is ParentKind.BASE])
            self._parents.append(parents)
            self._bases.append(parents if bases == parents else bases)

    @cached_property
    def _child_places(self) -> list[list[int]]:
        children: list[list[int]] = [[] for _ in self.images]
        for place, edges in enumerate(self._parents):
            for parent in edges:
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
        return [
            tuple([(self._names[parent], self._kind(parent, place)) for parent in parents])
            for place, parents in enumerate(self._parents)
        ]

    def _kind(self, parent: int, place: int) -> ParentKind:
        return ParentKind.BASE if parent in self._bases[place] else ParentKind.STAGE

    def children(self, key: str) -> tuple[str, ...]:
        """The images built directly on this one, in the order of the images."""
        return tuple(self._names[place] for place in self._child_places[self._place[key]])

    def ordered(self) -> Iterable[str]:
        """All images, parents first."""
        return iter(self._names)

    def in_order(self, keys: Iterable[str]) -> list[str]:
        """These images, parents first."""
        return [self._names[place] for place in sorted(map(self._place.__getitem__, keys))]

    def layers(self, keys: Collection[str]) -> Subgraph:
        """These images, each named once, parents first: each with its direct parents among them and its level."""
        if len(keys) == len(self):
            return Subgraph(self._names, self._parents, self._bases, _levels(self._parents))
        places = sorted(map(self._place.__getitem__, keys))
        numbers = array("i", [-1]) * len(self)
        after: list[tuple[int, ...]] = []
        bases: list[tuple[int, ...]] = []
        for number, place in enumerate(places):
            parents, handing_on = self._parents[place], self._bases[place]
            above = tuple([numbers[parent] for parent in parents if numbers[parent] >= 0])
            after.append(above)
            if handing_on is not parents:
                above = tuple([numbers[parent] for parent in handing_on if numbers[parent] >= 0])
            bases.append(above)
            numbers[place] = number
        return Subgraph([self._names[place] for place in places], after, bases, _levels(after))

    def descendants(self, keys: Iterable[str], kinds: frozenset[ParentKind] = frozenset(ParentKind)) -> set[str]:
        """Everything below these images through edges of the given kinds, without the images themselves."""
        start = [self._place[key] for key in keys]
        seen, todo = set(start), list(start)
        while todo:
            place = todo.pop()
            for child in self._child_places[place]:
                if child not in seen and self._kind(place, child) in kinds:
                    seen.add(child)
                    todo.append(child)
        return {self._names[place] for place in seen.difference(start)}

    def ancestors(self, keys: Iterable[str]) -> set[str]:
        """Everything above these images in the inventory, without the images themselves."""
        start = [self._place[key] for key in keys]
        seen, todo = set(start), list(start)
        while todo:
            for parent in self._parents[todo.pop()]:
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
        for image, edges in zip(self.images, self._named_parents, strict=True):
            graph.add_edges_from((parent, image.key, {"kind": str(kind)}) for parent, kind in edges)
        return graph
