"""The graph of container layers, with the states that a wave or a plan gives its images."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NotRequired

from msgspec import Struct, field
from msgspec.structs import replace
from sqlalchemy import Connection
from typing_extensions import TypedDict

from rebuilder.config import Settings
from rebuilder.domain import graph_export
from rebuilder.domain.errors import RequestError
from rebuilder.domain.graph import Graph
from rebuilder.domain.image import Image, Parent, ParentKind
from rebuilder.domain.image_name import ImageName
from rebuilder.domain.plan import Plan
from rebuilder.engine.plan_preview import AskedUpdates
from rebuilder.queries import plan_preview
from rebuilder.queries.moment import written_moment
from rebuilder.store import externals, inventory, rebuilds, waves
from rebuilder.store.read_cache import cached

REBUILD = "rebuild"


class ExternalParent(TypedDict):
    """A parent that is not in the inventory."""

    name: str
    kind: str


class ExternalNode(TypedDict):
    """What the registry of an external parent has; `since` is when that digest was first seen."""

    name: str
    digest: str
    since: str | None


class Node(TypedDict):
    """An image that is drawn; `state` is null where neither a wave nor a plan says anything of it."""

    image: str
    state: str | None
    external: list[ExternalParent]


class Edge(TypedDict):
    """The child is built on the parent."""

    parent: str
    child: str
    kind: str


class Drawing(TypedDict):
    """Images, parents first, the edges between them, and what is known of the external parents that they name."""

    images: list[Node]
    edges: list[Edge]
    externals: NotRequired[list[ExternalNode]]


class GraphRequest(Struct, frozen=True):
    """What is to be drawn: one image's family, a wave, a plan for updates; without any of these all images."""

    image: str | None = None
    wave: int | None = None
    updates: AskedUpdates = field(default_factory=AskedUpdates)


class GraphView(Struct, frozen=True):
    """The graph, the images of it that are shown, and the states of those that have one."""

    layers: Graph
    keys: Collection[str]
    states: Mapping[str, str]
    externals: Mapping[str, ExternalNode] = field(default_factory=dict)

    @property
    def document(self) -> Drawing:
        """The layers as the API and `graph --format json` give them."""
        drawing: Drawing = graph_export.as_document(self.layers, self.keys, self.states)  # type: ignore[assignment]
        named = {outside["name"]: None for node in drawing["images"] for outside in node["external"]}
        if externals := [self.externals[name] for name in named if name in self.externals]:
            drawing["externals"] = externals
        return drawing


def read(connection: Connection, request: GraphRequest, settings: Settings, now: float) -> GraphView:
    """Raises RequestError where there are no images, no such wave or image, or something is asked for twice."""
    _check(request)
    layers = cached(connection, "inventory", lambda: inventory.load(connection))
    if not len(layers):
        raise RequestError("the inventory is empty: run `rebuilder inventory sync` first")
    states: Mapping[str, str] = {}
    if request.updates:
        states = of_plan(plan_preview.draft(connection, request.updates, settings, now).plan)
    elif request.wave is not None:
        layers, states = _of_wave(connection, layers, request.wave, settings, now)
    nodes = {
        spec: ExternalNode(name=spec, digest=one.digest, since=written_moment(one.since))
        for spec, one in externals.stored(connection).items() if one.digest
    }  # fmt: skip
    return replace(view(layers, states, request), externals=nodes)


def _check(request: GraphRequest) -> None:
    """Raises RequestError for what cannot be combined."""
    if request.wave is not None and request.updates:
        raise RequestError("a wave and updates cannot be drawn at the same time")
    if request.updates.is_incomplete:
        raise RequestError("a stream and a severity go with an update")


def view(layers: Graph, states: Mapping[str, str], request: GraphRequest) -> GraphView:
    """Of all these images those that are asked for. Raises UnknownError for an unknown image."""
    if request.image is not None:
        return GraphView(layers, graph_export.family(layers, request.image), states)
    only = request.updates or request.wave is not None
    return GraphView(layers, states if only else [image.key for image in layers.images], states)


def of_plan(plan: Plan) -> Mapping[str, str]:
    """The states that a plan gives to images."""
    states = {skipped.image: str(skipped.reason) for skipped in plan.skipped}
    return {**states, **{rebuild.image: REBUILD for rebuild in plan.rebuilds}}


def _of_wave(
    connection: Connection, layers: Graph, wave_id: int, settings: Settings, now: float
) -> tuple[Graph, Mapping[str, str]]:
    if waves.find(connection, wave_id).state == "planned":
        return layers, of_plan(plan_preview.proposed(connection, wave_id, settings, now).plan)
    states = {entry.image: str(entry.state) for entry in rebuilds.of_wave(connection, wave_id)}
    gone = inventory.find(connection, [key for key in states if key not in layers])
    return graph_export.with_gone(layers, gone.values()) if gone else layers, states


def graph_of_source(document: Drawing) -> GraphView:
    """What a server drew."""
    parents: dict[str, list[Parent]] = {node["image"]: [] for node in document["images"]}
    for edge in document["edges"]:
        parents[edge["child"]].append(Parent(ParentKind(edge["kind"]), edge["parent"]))
    for node in document["images"]:
        parents[node["image"]] += [Parent(ParentKind(o["kind"]), "", o["name"]) for o in node["external"]]
    images = []
    for key, above in parents.items():
        images.append(Image(*ImageName.of(key), tuple(above)))
    states = {node["image"]: node["state"] for node in document["images"] if node["state"] is not None}
    return GraphView(Graph(images), [image.key for image in images], states)
