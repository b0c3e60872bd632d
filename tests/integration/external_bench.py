"""Images on other people's images, which a real registry has."""

from __future__ import annotations

import pytest
from integration.workbench import Given, Workbench
from support.registries import Registry, with_rpms

from rebuilder.domain.image import Image, ImageBuild, Manifest, Parent, ParentKind, Source
from rebuilder.domain.rpm import Rpm
from rebuilder.queries import image_state, why
from rebuilder.store import externals, inventory
from rebuilder.store.database import reading

OLD, NEW = "openssl-3.2.1-1.fc42", "openssl-3.2.2-1.fc42"
OWN = "httpd-2.4.1-1.fc42.noarch"


@pytest.fixture
def spec(registry: Registry, request: pytest.FixtureRequest) -> str:
    """A pull spec of the test's own, whose image has the old RPM."""
    name = f"base{abs(hash(request.node.name)) % 10**9}:42"
    registry.push(name, [with_rpms(OLD)])
    return f"{registry.host}/{name}"


def update(registry: Registry, spec: str, *nvrs: str) -> str:
    return registry.push(spec.partition("/")[2], [with_rpms(*nvrs)])


def on(spec: str, name: str, *rpms: str, source: Source | None = None) -> Given:
    parent = Parent(ParentKind.BASE, external=spec) if "/" in spec else Parent(ParentKind.BASE, f"{spec}:f42")
    content = Manifest.of(map(Rpm.parse, rpms or (f"{OLD}.noarch", OWN)))
    image = Image(name, "f42", (parent,), source or Source(), estimate=10)
    return image, ImageBuild(image.key, "first", content)


def told(bench: Workbench, name: str) -> tuple[str, str]:
    """What `why` says of the last update: the verdict, and what that names."""
    with reading(bench.store) as connection:
        (found,) = why.read(connection, f"{name}:f42", bench.settings, bench.clock.now).not_rebuilt
    return found.verdict, found.by or ""


def state(bench: Workbench, name: str) -> tuple[str, bool]:
    """What the image is, and whether a parent of somebody else's is named as the reason."""
    with reading(bench.store) as connection:
        found = image_state.read(connection, bench.settings, bench.clock.now, [f"{name}:f42"])[f"{name}:f42"]
    return str(found.state), "sha256:" in found.why


def digest(bench: Workbench, spec: str) -> str:
    with reading(bench.store) as connection:
        return externals.stored(connection)[spec].digest


def stands_on(bench: Workbench, name: str) -> dict[str, str]:
    with reading(bench.store) as connection:
        build = inventory.current_builds(connection)[f"{name}:f42"]
    return {parent.spec: parent.at for parent in build.externals}
