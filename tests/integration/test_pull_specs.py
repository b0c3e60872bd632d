"""What to pull: the build of each image that is delivered, and no other."""

from __future__ import annotations

from typing import Any

import pytest
from integration.workbench import CHAIN, Workbench, image
from sqlalchemy import Engine, select
from support.api_client import Client

from rebuilder.config import RegistrySettings, Settings
from rebuilder.domain.image import ImageBuild
from rebuilder.queries import pull_specs
from rebuilder.store import deliveries
from rebuilder.store.database import reading
from rebuilder.store.deliveries import Wanted
from rebuilder.store.filters import Filter
from rebuilder.store.models import Rebuild
from rebuilder.store.sync import record_builds

OLD, NEW = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
PLACE = "registry.example.com/team/base"


@pytest.fixture
def bench(store: Engine) -> Workbench:
    """A wave that is done: base's build of it is to be pushed from here."""
    found = Workbench(store)
    found.tell("openssl-3.2.2-1.fc42")
    found.finish()
    return found


def read(bench: Workbench, image: str = "base:f42", **registry: Any) -> pull_specs.PullSpecs:
    with reading(bench.store) as connection:
        (found,) = pull_specs.read(connection, Filter(image=image), Settings(registry=RegistrySettings(**registry)))
    return found


def wanted(bench: Workbench, name: str, *, moves: bool) -> Wanted:
    entry = bench.entry("base")
    with reading(bench.store) as connection:
        build_id = connection.scalar(select(Rebuild.build_id).where(Rebuild.id == entry.id))
    assert build_id is not None
    return Wanted(entry.image_id, entry.key, build_id, name, moves, remote=True)


def push(bench: Workbench, digest: str, *names: Wanted) -> None:
    """These names were given to the build."""
    with bench.store.begin() as connection:
        deliveries.request(connection, names, bench.clock.now)
        specs = {name.spec for name in names}
        pending = [one for one in deliveries.pending(connection, remote=True) if one.spec in specs]
        deliveries.pushed(connection, {one.id: f"{PLACE}@{digest}" for one in pending}, bench.clock.now)


def test_nothing_is_to_be_pulled_of_a_build_that_is_in_no_registry(bench: Workbench) -> None:
    assert (read(bench).pull_specs, read(bench).digest) == ((), None)


def test_a_build_is_to_be_pulled_once_its_floating_tag_points_to_it(bench: Workbench) -> None:
    push(bench, NEW, wanted(bench, f"{PLACE}:f42-1", moves=False))
    assert read(bench).pull_specs == ()
    assert read(bench, tags=["{stream}-{date}.{n}"]).pull_specs == (f"{PLACE}@{NEW}",)  # there is no tag to wait for
    push(bench, NEW, wanted(bench, f"{PLACE}:f42", moves=True))
    found = read(bench)
    assert (found.pull_specs, found.digest, found.is_current) == ((f"{PLACE}@{NEW}",), NEW, True)
    assert found.pushed is not None


def test_a_newer_build_that_is_not_pushed_yet_changes_nothing(bench: Workbench) -> None:
    push(bench, OLD, wanted(bench, f"{PLACE}:f42", moves=True))
    first = read(bench).ident
    bench.tell("openssl-3.2.3-1.fc42")
    bench.finish()
    found = read(bench)
    assert (found.ident, found.pull_specs, found.is_current) == (first, (f"{PLACE}@{OLD}",), False)


def test_what_a_builder_pushed_itself_is_its_current_build(bench: Workbench) -> None:
    tags = ("registry.example.com/app:1-2", "registry.example.com/app:latest")
    with bench.store.begin() as connection:
        build = ImageBuild("alone:f42", "alone-1-2", digest=NEW, tags=tags)
        record_builds(connection, [build], {"alone:f42": bench.entry("alone").image_id}, bench.clock.now)
    found = read(bench, "alone*")
    assert (found.ident, found.pull_specs) == ("alone-1-2", (f"registry.example.com/app@{NEW}",))
    assert (found.is_current, found.pushed) == (True, None)


def test_the_api_narrows_by_image_stream_and_package(store: Engine) -> None:
    Workbench(store, (*CHAIN, image("bare", rpms=("bash-5.2-1.fc42.x86_64",))))
    client = Client(store)
    assert [one["image"] for one in client.reads("pull-specs", package="openssl", image="*a*")] == [
        "alone:f42", "app:f42", "base:f42",
    ]  # fmt: skip
    assert "unknown stream f43" in client.problem("pull-specs", 400, stream="f43")

