"""What the demonstration proves, read from the images themselves and from the engine's own times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import compress
from operator import not_

from rebuilder.demo.images import NEW, UNAFFECTED
from rebuilder.domain.graph import Graph
from rebuilder.domain.image import ImageBuild
from rebuilder.store.rebuilds import RebuildRecord

PACKAGE = "openssl-libs"


@dataclass(frozen=True, slots=True)
class Line:
    """One image's row of the closing table. `after_parents` is None where the image has none that was rebuilt."""

    image: str
    level: int
    before: str
    after: str
    seconds: float | None
    after_parents: bool | None
    good: bool
    verdict: str


def version(build: ImageBuild) -> str:
    """The version of openssl-libs in the image's own RPM database; "-" where it has none."""
    rpms = build.manifest.rpms if build.manifest else ()
    return next((str(rpm.evr) for rpm in rpms if rpm.name == PACKAGE), "-")


def judge(
    graph: Graph,
    before: Mapping[str, ImageBuild],
    after: Mapping[str, ImageBuild],
    entries: Mapping[str, RebuildRecord],
) -> list[Line]:
    """One line an image, parents first."""
    levels: dict[str, int] = {}
    lines = []
    for key in graph.ordered():
        parents = [parent for parent, _ in graph.parents(key)]
        levels[key] = max((levels[parent] + 1 for parent in parents), default=0)
        lines.append(_line(key, levels[key], parents, before[key], after, entries))
    return lines


def _word_of(kept: bool) -> str:
    return "left alone" if kept else "was rebuilt for nothing"


def _line(
    key: str,
    level: int,
    parents: list[str],
    before: ImageBuild,
    builds: Mapping[str, ImageBuild],
    entries: Mapping[str, RebuildRecord],
) -> Line:
    after, entry = builds[key], entries.get(key)
    old, new = version(before), version(after)
    if graph_name(key) in UNAFFECTED:
        kept = (after.ident, entry) == (before.ident, None)
        return Line(key, level, old, new, None, None, kept, _word_of(kept))
    if entry is None or entry.started_at is None or entry.ended_at is None:
        return Line(key, level, old, new, None, None, False, "was not rebuilt")
    seconds = entry.ended_at - entry.started_at
    ordered = all(_ended(entries, parent) <= entry.started_at for parent in parents) if parents else None
    holds = {
        "does not carry the new RPM": new == f"{NEW.epoch}:{NEW.version}-{NEW.release}" and after.ident != before.ident,
        "began before its parents were done": ordered is not False,
        "is not on its parents' new builds": set(after.parents) == {builds[parent].ident for parent in parents},
    }
    wrong = "; ".join(compress(holds, map(not_, holds.values())))
    return Line(key, level, old, new, seconds, ordered, not wrong, wrong or "rebuilt")


def graph_name(key: str) -> str:
    """The image's name without its stream."""
    return key.rpartition(":")[0]


def _ended(entries: Mapping[str, RebuildRecord], key: str) -> float:
    entry = entries.get(key)
    return entry.ended_at if entry is not None and entry.ended_at is not None else float("inf")
