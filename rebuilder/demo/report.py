"""What the demonstration proves, read from the images themselves and from the engine's own times."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import compress
from operator import not_

from msgspec import Struct

from rebuilder.demo.images import NEW, UNAFFECTED
from rebuilder.domain.external import pinned
from rebuilder.domain.graph import Graph
from rebuilder.domain.image import ImageBuild
from rebuilder.domain.image_name import name_of
from rebuilder.domain.lifecycle import RebuildRecord

PACKAGE = "openssl-libs"
UNDELIVERED = "is not what its tag in the registry brings"
NEWEST = f"{NEW.epoch}:{NEW.version}-{NEW.release}"


class Line(Struct, frozen=True):
    """One image's row of the closing table. `after_parents` is None where the image has none that was rebuilt."""

    image: str
    level: int
    before: str
    after: str
    seconds: float | None
    after_parents: bool | None
    good: bool
    verdict: str


class Scene(Struct, frozen=True):
    """The builds of all images before and after, and what the engine recorded of the rebuilds, by image.

    `base` is the external base before and after, where there is one. `pulled` is what the floating tags in the registry
    brought into an empty storage, where images are pushed.
    """

    graph: Graph
    before: Mapping[str, ImageBuild]
    after: Mapping[str, ImageBuild]
    entries: Mapping[str, RebuildRecord]
    base: tuple[ImageBuild, ImageBuild] | None = None
    pulled: Mapping[str, ImageBuild] | None = None


def version(build: ImageBuild) -> str:
    """The version of openssl-libs in the image's own RPM database; "-" where it has none."""
    rpms = build.manifest.rpms if build.manifest else ()
    return next((str(rpm.evr) for rpm in rpms if rpm.name == PACKAGE), "-")


def judge(scene: Scene) -> list[Line]:
    """One line an image, parents first."""
    levels: dict[str, int] = {}
    lines = [_line_of_base(*scene.base)] if scene.base else []
    for key in scene.graph.ordered():
        above = [levels[parent] for parent in _above(scene, key)]
        lowest = 0 if _on_external(scene, key) else -1
        levels[key] = max([*above, lowest]) + 1
        lines.append(_line(scene, key, levels[key]))
    return lines


def _line_of_base(before: ImageBuild, after: ImageBuild) -> Line:
    new = version(after)
    good = new == NEWEST and before.ident != after.ident
    verdict = "pushed" if good else "does not carry the new RPM"
    return Line(after.image.rpartition("/")[2], 0, version(before), new, None, None, good, verdict)


def _line(scene: Scene, key: str, level: int) -> Line:
    before, after, entry = scene.before[key], scene.after[key], scene.entries.get(key)
    old, new = version(before), version(after)
    if name_of(key) in UNAFFECTED:
        kept, there = (after.ident, entry) == (before.ident, None), _is_delivered(scene, key)
        verdict = "was rebuilt for nothing" if not kept else UNDELIVERED if not there else "left alone"
        return Line(key, level, old, new, None, None, kept and there, verdict)
    if entry is None or entry.started_at is None or entry.ended_at is None:
        return Line(key, level, old, new, None, None, False, "was not rebuilt")
    ordered = _is_ordered(scene, key, entry.started_at)
    wrong = _faults(scene, key, ordered is not False)
    good = "rebuilt" if scene.pulled is None else "delivered"
    return Line(key, level, old, new, entry.ended_at - entry.started_at, ordered, not wrong, wrong or good)


def _faults(scene: Scene, key: str, ordered: bool) -> str:
    """What is wrong with an image that was rebuilt; "" where nothing is."""
    before, after = scene.before[key], scene.after[key]
    holds = {
        "does not carry the new RPM": version(after) == NEWEST and after.ident != before.ident,
        "began before its parents were done": ordered,
        "is not on its parents' new builds": set(after.parents) == {scene.after[at].ident for at in _above(scene, key)},
        "is not on the new base": not _on_external(scene, key) or _is_on_new_base(scene, after),
        UNDELIVERED: _is_delivered(scene, key),
    }
    return "; ".join(compress(holds, map(not_, holds.values())))


def _is_delivered(scene: Scene, key: str) -> bool:
    """Whether the registry's tag brings the build, with the same version; also where nothing is pushed."""
    if scene.pulled is None:
        return True
    pulled, after = scene.pulled[key], scene.after[key]
    return (pulled.ident, version(pulled)) == (after.ident, version(after))


def _above(scene: Scene, key: str) -> list[str]:
    return [parent for parent, _ in scene.graph.parents(key)]


def _is_ordered(scene: Scene, key: str, started_at: float) -> bool | None:
    """Whether all parents were done before; None where it has none that was rebuilt."""
    ended = [_ended(scene.entries, parent) for parent in _above(scene, key)]
    return all(moment <= started_at for moment in ended) if ended else None


def _on_external(scene: Scene, key: str) -> bool:
    return bool(scene.graph.image(key).externals)


def _is_on_new_base(scene: Scene, build: ImageBuild) -> bool:
    """Whether the build's record names the digest that the base has at the end, and no other."""
    digests = {pinned(pin.at) for pin in build.externals}
    return scene.base is not None and digests == {scene.base[1].ident}


def _ended(entries: Mapping[str, RebuildRecord], key: str) -> float:
    entry = entries.get(key)
    return entry.ended_at if entry is not None and entry.ended_at is not None else float("inf")
