"""The plan of any small inventory is what the definitions say, worked out by brute force."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from support import packages
from support.examples import examples

from rebuilder.domain.change import Change
from rebuilder.domain.graph import Graph
from rebuilder.domain.image import Image, ImageBuild, Inventory, Manifest, Parent, ParentKind
from rebuilder.domain.impact import PlanOptions
from rebuilder.domain.plan import make_plan
from rebuilder.domain.rpm import EVR, Rpm, SourceBuild

STREAMS, SOURCES = ("a", "b"), ("p", "q", "pq")


class Layer(Struct, frozen=True):
    """An image in the terms of the oracle: places of parents, and {(binary, source): version} or None."""

    stream: str
    base: int | None
    stages: frozenset[int]
    rpms: dict[tuple[str, str], int] | None


@st.composite
def worlds(draw: st.DrawFn) -> list[Layer]:
    layers: list[Layer] = []
    for at in range(draw(st.integers(1, 7))):
        above = st.integers(0, at - 1)
        base = draw(st.none() | above) if at else None
        stages = draw(st.frozensets(above, max_size=2)) - {base} if at else frozenset()
        names = st.tuples(st.sampled_from(("", "-libs")), st.sampled_from(SOURCES)).map(lambda n: (n[1] + n[0], n[1]))
        own = draw(st.dictionaries(names, st.integers(1, 3), max_size=3))
        inherited = (layers[base].rpms or {}) if base is not None and draw(st.booleans()) else {}
        rpms = None if draw(st.integers(0, 9)) == 0 else {**inherited, **own}
        layers.append(Layer(draw(st.sampled_from(STREAMS)), base, frozenset(stages), rpms))
    return layers


changes = st.lists(st.tuples(st.sampled_from(SOURCES), st.sampled_from(STREAMS), st.integers(1, 4)), min_size=1,
                   max_size=4)  # fmt: skip


def name(at: int, layer: Layer) -> str:
    return f"i{at}:{layer.stream}"


def inventory_of(layers: list[Layer]) -> Inventory:
    images, builds = [], []
    for at, layer in enumerate(layers):
        parents = [Parent(ParentKind.STAGE, name(p, layers[p])) for p in sorted(layer.stages)]
        if layer.base is not None:
            parents.append(Parent(ParentKind.BASE, name(layer.base, layers[layer.base])))
        images.append(Image(f"i{at}", layer.stream, tuple(parents)))
        if layer.rpms is not None:
            rpms = [Rpm(binary, 0, str(v), "1", "noarch", source) for (binary, source), v in layer.rpms.items()]
            builds.append(ImageBuild(images[-1].key, "1", Manifest.of(rpms)))
    return Inventory(tuple(images), (), tuple(builds))


def judged(layers: list[Layer], at: int, package: tuple[str, str]) -> str:
    """The stream that the RPM is of: that of the base which it came from, if it has one of that name."""
    base = layers[at].base
    if base is not None and package in (layers[base].rpms or {}):
        return judged(layers, base, package)
    return layers[at].stream


def above(layers: list[Layer], at: int) -> set[str]:
    """The streams of the layer and of all below it."""
    direct = layers[at].stages | ({layers[at].base} - {None})
    return {layers[at].stream}.union(*(above(layers, parent) for parent in direct if parent is not None))


def origin(layers: list[Layer], at: int, rpm: tuple[tuple[str, str], int]) -> str:
    """Up the bases as long as each has the very same RPM."""
    found = ""
    base = layers[at].base
    while base is not None and rpm in (layers[base].rpms or {}).items():
        found, base = name(base, layers[base]), layers[base].base
    return found


@examples(300)
@given(worlds(), changes, st.booleans())
def test_any_plan_is_what_brute_force_finds(
    layers: list[Layer], told: list[tuple[str, str, int]], everything: bool
) -> None:
    offered: dict[tuple[str, str], int] = {}
    for source, stream, version in told:
        offered[source, stream] = max(version, offered.get((source, stream), 0))
    stale = {
        at: {(f"{package[0]}-{v}-1.noarch", origin(layers, at, (package, v)))
             for package, v in (layer.rpms or {}).items()
             if v < offered.get((package[1], judged(layers, at, package)), 0)}
        for at, layer in enumerate(layers)
    }  # fmt: skip
    wanted = {at for at, found in stale.items() if found}
    if everything:
        for at, layer in enumerate(layers):  # parents come first here
            if layer.base in wanted:
                wanted.add(at)
    levels: dict[int, int] = {}
    skipped = {}
    for at, layer in enumerate(layers):
        if at in wanted:
            parents = ({layer.base} | layer.stages) & wanted
            levels[at] = max((levels[p] + 1 for p in parents if p is not None), default=0)
            continue
        sources = {source for _, source in layer.rpms or {}}
        if layer.rpms is None:
            if above(layers, at) & {stream for _, stream in offered}:
                skipped[name(at, layer)] = "unknown"
        elif any((package[1], judged(layers, at, package)) in offered for package in layer.rpms):
            skipped[name(at, layer)] = "already-current"
        elif sources & {source for source, _ in offered}:
            skipped[name(at, layer)] = "other-stream"

    inventory = inventory_of(layers)
    found = make_plan(
        Graph(inventory.images),
        packages.carried(inventory, {source for source, _, _ in told}),
        [Change(SourceBuild(source, EVR(None, str(v), "1")), stream) for source, stream, v in told],
        PlanOptions("all" if everything else "affected"),
    )
    assert {r.image: r.level for r in found.rebuilds} == {name(at, layers[at]): level for at, level in levels.items()}
    order = [r.image for r in found.rebuilds]
    for rebuild in found.rebuilds:
        at = int(rebuild.image[1 : rebuild.image.index(":")])
        parents = {name(p, layers[p]) for p in {layers[at].base} | layers[at].stages if p is not None and p in wanted}
        assert set(rebuild.depends_on) == parents
        assert all(order.index(parent) < order.index(rebuild.image) for parent in parents)
        own = {(reason.installed, reason.inherited_from) for reason in rebuild.reasons if reason.kind == "rpm"}
        assert own == stale[at]
        assert own or [reason.kind for reason in rebuild.reasons] == ["parent"]
    assert {skipped.image: str(skipped.reason) for skipped in found.skipped} == skipped
    assert found.untouched == len(layers) - len(wanted) - len(skipped)
    assert {(c.build.name, c.stream): int(c.build.evr.version) for c in found.changes} == offered


Rpms = dict[tuple[str, str], int]


class Machine:
    """Builds images: what a base has comes along as it is, what a layer installs itself comes newest."""

    def __init__(self, layers: list[Layer], offered: dict[str, int]) -> None:
        self.layers = layers
        self.offered = offered
        self.rpms: list[Rpms] = [dict(layer.rpms or {}) for layer in layers]
        self.inherited = [
            {name for name, version in (layer.rpms or {}).items()
             if layer.base is not None and (layers[layer.base].rpms or {}).get(name) == version}
            for layer in layers
        ]  # fmt: skip

    def build(self, at: int) -> None:
        base = self.layers[at].base
        above = self.rpms[base] if base is not None else {}
        for name, version in self.rpms[at].items():
            newest = max(version, self.offered.get(name[1], 0))
            self.rpms[at][name] = above[name] if name in self.inherited[at] else newest

    def stale(self) -> set[int]:
        return {at for at, rpms in enumerate(self.rpms)
                if any(version < self.offered.get(source, 0) for (_, source), version in rpms.items())}  # fmt: skip


@examples(200)
@given(worlds(), changes)
def test_a_plan_leaves_nothing_stale_and_every_image_and_every_inheriting_edge_of_it_is_needed(
    layers: list[Layer], told: list[tuple[str, str, int]]
) -> None:
    layers = [Layer("a", layer.base, layer.stages, layer.rpms if layer.rpms is not None else {}) for layer in layers]
    offered: dict[str, int] = {}
    for source, _, version in told:
        offered[source] = max(version, offered.get(source, 0))
    inventory = inventory_of(layers)
    wanted = [Change(SourceBuild(source, EVR(None, str(v), "1")), "a") for source, v in offered.items()]
    found = make_plan(Graph(inventory.images), packages.carried(inventory, set(offered)), wanted)
    order = [int(rebuild.image[1:-2]) for rebuild in found.rebuilds]

    def left(order: list[int]) -> set[int]:
        machine = Machine(layers, offered)
        for at in order:
            machine.build(at)
        return machine.stale()

    assert left(order) == set()
    for at in order:
        assert at in left([other for other in order if other != at])
    for child in order:
        parent = layers[child].base
        hands_on = Machine(layers, offered).inherited[child]
        stale = {name for name in hands_on if (layers[child].rpms or {})[name] < offered.get(name[1], 0)}
        if parent in order and stale:
            early = [child, *(other for other in order if other != child)]
            assert child in left(early)
