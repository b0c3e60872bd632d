"""Images of one line each, and the plan for an update of what they carry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rebuilder.domain.change import Change, Severity
from rebuilder.domain.graph import Graph
from rebuilder.domain.image import Image, ImageBuild, Inventory, Manifest, Parent, ParentKind
from rebuilder.domain.impact import PlanOptions
from rebuilder.domain.plan import Plan, make_plan
from rebuilder.domain.rpm import Rpm, SourceBuild
from support import packages

OLD, NEW = "openssl-libs-1:3.2.1-1.fc42.x86_64", "openssl-libs-1:3.2.2-1.fc42.x86_64"


def image(
    name: str, *parents: str, rpms: tuple[str, ...] | None = (), stage: tuple[str, ...] = (), seconds: float = 0
) -> tuple[Image, ImageBuild | None]:
    """An image of stream f42 unless its name says another; RPMs as NEVRAs, or `NEVRA < source`."""
    name, _, stream = name.partition(":")
    stream = stream or "f42"
    above = [Parent(ParentKind.BASE, p if ":" in p else f"{p}:{stream}") for p in parents]
    above += [Parent(ParentKind.STAGE, p if ":" in p else f"{p}:{stream}") for p in stage]
    found = Image(name, stream, tuple(above), estimate=seconds)
    return found, None if rpms is None else ImageBuild(found.key, "1", Manifest.of(map(rpm, rpms)))


def rpm(text: str) -> Rpm:
    nevra, _, source = text.partition(" < ")
    return Rpm.parse(nevra, source or ("openssl" if nevra.startswith("openssl-") else ""))


def change(nvr: str = "openssl-3.2.2-1.fc42", stream: str = "f42", severity: str = "unspecified") -> Change:
    return Change(SourceBuild.parse(nvr), stream, Severity(severity))


def plan(
    images: list[tuple[Image, ImageBuild | None]], *changes: Change, slots: int = 1,
    seconds: Mapping[str, float] | None = None, **terms: Any,
) -> Plan:
    changes = changes or (change(),)
    inventory = Inventory(tuple(i for i, _ in images), (), tuple(b for _, b in images if b is not None))
    carried = packages.carried(inventory, {c.build.name for c in changes})
    return make_plan(Graph(inventory.images), carried, changes, PlanOptions(**terms), slots=slots, seconds=seconds)


def rebuilt(found: Plan) -> list[str]:
    return [rebuild.image for rebuild in found.rebuilds]


def left_out(found: Plan) -> list[tuple[str, str, str]]:
    return [(skipped.image, str(skipped.reason), skipped.by) for skipped in found.skipped]
