"""Builds stay in the storage for a while, and go when newer ones are there, unless something needs them."""

from __future__ import annotations

import subprocess
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest
from support import servers
from support.buildah_world import Machine, ended, machine

from rebuilder.domain.build import BuildRequest, Phase
from rebuilder.domain.image import ImageBuild


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Machine]:
    servers.need("buildah", "buildah", "busybox")
    servers.need("rpm", "rpm", "rpmbuild", "createrepo_c")
    with machine(tmp_path) as made:
        yield made


def number(world: Machine, at: int, name: str = "base") -> None:
    """Each build is another image."""
    world.write(name, f"FROM scratch\nCOPY Containerfile /number-{at}\n")


def builds(world: Machine, *numbers: int, name: str = "base") -> list[ImageBuild]:
    found = []
    for at in numbers:
        number(world, at, name)
        found.append(world.build(name, f"{name}-{at}"))
    return found


def unproven(world: Machine, key: str, name: str = "base") -> ImageBuild:
    number(world, 100, name)
    builder = world.builder()
    builder.submit(BuildRequest(key, world.image(name)))
    assert ended(builder, key).phase is Phase.SUCCEEDED
    return builder.result(key)


def kept(world: Machine) -> set[str]:
    return {world.storage.inspect(image.ident).key for image in world.storage.images()}


def prune(world: Machine, keep: int, *open_keys: str) -> int:
    def settled(keys: Collection[str]) -> Collection[str]:
        return set(keys) - set(open_keys)

    return world.builder(keep_builds=keep).tidy(settled)


def test_the_last_builds_of_each_image_stay_and_the_older_go(world: Machine) -> None:
    builds(world, 1, 2, 3, 4)
    builds(world, 1, name="other")
    assert prune(world, 3) == 1
    assert kept(world) == {"base-2", "base-3", "base-4", "other-1"}
    assert prune(world, 1) == 2
    assert kept(world) == {"base-4", "other-1"}
    assert prune(world, 1) == 0
    assert set(world.storage.ids()) >= {"localhost/base:f42", "localhost/other:f42"}


def test_bad_builds_cost_no_good_one_its_place(world: Machine) -> None:
    builds(world, 1, 2)
    for key in ("bad-1", "bad-2", "bad-3"):
        unproven(world, key)
    assert prune(world, 2) == 1
    assert kept(world) == {"base-1", "base-2", "bad-2", "bad-3"}


def test_a_build_that_is_not_over_or_that_nobody_knows_stays(world: Machine) -> None:
    builds(world, 1, 2, 3)
    assert prune(world, 1, "base-1", "base-2") == 0
    assert kept(world) == {"base-1", "base-2", "base-3"}


def test_a_build_that_another_image_is_made_from_stays_until_that_is_gone(world: Machine) -> None:
    first, _ = builds(world, 1, 2)
    world.write("child", "FROM base\nLABEL of=child\n")
    on_first = world.build("child", "child-1", (first,))
    assert on_first.parents == (first.ident,)
    assert prune(world, 1) == 0
    world.storage.remove("localhost/child:f42")
    world.storage.remove(on_first.ident)
    assert prune(world, 1) == 1
    assert kept(world) == {"base-2"}


def test_a_build_that_somebody_s_image_is_made_from_stays(world: Machine) -> None:
    first, _ = builds(world, 1, 2)
    container = subprocess.check_output(world.storage.command("from", "--pull=never", first.ident), text=True).strip()
    subprocess.run(world.storage.command("commit", "-q", "--rm", container, "theirs"), check=True, capture_output=True)
    assert prune(world, 1) == 0
    assert world.storage.inspect(first.ident).key == "base-1"


def test_a_build_that_runs_in_a_container_stays_until_that_ends(world: Machine) -> None:
    first, _ = builds(world, 1, 2)
    container = subprocess.check_output(world.storage.command("from", "--pull=never", first.ident), text=True).strip()
    assert prune(world, 1) == 0
    assert kept(world) == {"base-1", "base-2"}
    subprocess.run(world.storage.command("rm", container), check=True, capture_output=True)
    assert prune(world, 1) == 1


def test_a_build_with_a_further_name_stays(world: Machine) -> None:
    first, _ = builds(world, 1, 2)
    world.storage.tag(first.ident, "localhost/base:known-good")
    assert prune(world, 1) == 0
    assert world.storage.ids()["localhost/base:known-good"] == first.ident
