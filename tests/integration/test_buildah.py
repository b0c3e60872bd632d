"""Real builds with buildah."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
import servers
from machine import Machine, ended, machine, until

from rebuilder.builders.buildah import BuildahBuilder
from rebuilder.demo import rootfs
from rebuilder.domain.build import Order, Phase
from rebuilder.domain.image import ImageBuild, Manifest
from rebuilder.inventory.storage import StorageError

SLOW = 'FROM scratch\nCOPY rootfs/ /\nRUN echo begun; while true; do sleep 1; done\n'


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    servers.need("buildah", "buildah", "busybox")
    servers.need("rpm", "rpm", "rpmbuild", "createrepo_c")
    with machine(tmp_path_factory.mktemp("buildah")) as made:
        yield made


@pytest.fixture(scope="module")
def base(world: Machine) -> ImageBuild:
    return world.build("base", "base-1")


def slow(world: Machine, name: str) -> None:
    world.write(name, SLOW)
    if not (world.folder / "images" / name / "rootfs").exists():
        rootfs.copy(world.folder / "rootfs", world.folder / "images" / name / "rootfs")


def begun(builder: BuildahBuilder, ref: str) -> bool:
    return "\nbegun\n" in "".join(builder.log(ref))


def versions(build: ImageBuild) -> list[str]:
    assert build.manifest is not None
    return sorted(rpm.nevra for rpm in build.manifest.rpms)


def test_a_build_s_manifest_is_what_the_image_s_own_database_says(base: ImageBuild) -> None:
    assert versions(base) == ["openssl-libs-1:3.2.1-1.fc42.noarch"]
    assert base.manifest is not None
    assert {rpm.sourcerpm for rpm in base.manifest.rpms} == {"openssl-3.2.1-1.fc42.src.rpm"}


def test_a_child_is_built_on_exactly_the_build_it_is_told_whatever_the_tag_says_now(
    world: Machine, base: ImageBuild
) -> None:
    world.write("child", "FROM base\nRUN true\n")
    world.offer("3.2.2")
    newer = world.build("base", "base-2")
    assert versions(newer) == ["openssl-libs-1:3.2.2-1.fc42.noarch"]
    on_old = world.build("child", "child-on-old", (base,))
    on_new = world.build("child", "child-on-new", (newer,))
    assert (versions(on_old), on_old.parents) == (versions(base), (base.ident,))
    assert (versions(on_new), on_new.parents) == (versions(newer), (newer.ident,))


def test_submitting_twice_makes_one_build(world: Machine, base: ImageBuild) -> None:
    slow(world, "twice")
    builder, order = world.builder(), Order("twice-1", world.image("twice"))
    assert builder.submit(order) == builder.submit(order)
    until(lambda: begun(builder, "twice-1"))
    assert "".join(builder.log("twice-1")).count("STEP 1/") == 1
    builder.cancel("twice-1")
    assert ended(builder, builder.submit(order).ref).phase is Phase.CANCELED


def test_a_build_that_runs_is_found_by_its_key_by_a_new_engine_and_its_log_is_readable(world: Machine) -> None:
    slow(world, "adopted")
    first = world.builder()
    submission = first.submit(Order("adopted-1", world.image("adopted")))
    second = world.builder()
    assert second.find(["adopted-1", "never"]) == {"adopted-1": submission}
    until(lambda: begun(second, "adopted-1"))
    assert second.poll(["adopted-1"])["adopted-1"].phase is Phase.RUNNING
    second.cancel("adopted-1")
    assert ended(second, "adopted-1").phase is Phase.CANCELED


def test_a_build_over_its_time_limit_is_ended_and_counts_as_aborted(world: Machine) -> None:
    slow(world, "endless")
    builder = world.builder(time_limit=0.5)
    builder.submit(Order("endless-1", world.image("endless")))
    status = ended(builder, "endless-1")
    assert status.phase is Phase.ABORTED
    assert "time limit" in status.reason


def test_a_bad_build_has_failed_with_buildah_s_words_and_leaves_the_old_image(world: Machine, base: ImageBuild) -> None:
    world.write("bad", "FROM base\nRUN true\n")
    good = world.build("bad", "bad-1", (base,))
    world.write("bad", "FROM base\nRUN exit 3\n")
    builder = world.builder()
    builder.submit(Order("bad-2", world.image("bad"), (base,)))
    status = ended(builder, "bad-2")
    assert status.phase is Phase.FAILED
    assert "exit status 3" in status.reason
    assert world.storage.ids()["localhost/bad:f42"] == good.ident


def test_a_killed_build_is_aborted_not_failed(world: Machine) -> None:
    slow(world, "killed")
    builder = world.builder()
    builder.submit(Order("killed-1", world.image("killed")))
    until(lambda: begun(builder, "killed-1"))
    group = int((world.folder / "builds/killed-1/started").read_text())
    os.killpg(group, signal.SIGKILL)
    status = ended(builder, "killed-1")
    assert status.phase is Phase.ABORTED


def test_a_build_that_nobody_knows_is_aborted(world: Machine) -> None:
    assert world.builder().poll(["unknown"])["unknown"].phase is Phase.ABORTED


def test_an_image_without_a_database_carries_nothing(world: Machine) -> None:
    world.write("bare", "FROM scratch\nCOPY Containerfile /\n")
    assert world.build("bare", "bare-1").manifest == Manifest.of(())


def test_a_database_that_cannot_be_read_is_said_in_one_line(world: Machine) -> None:
    world.write("broken", "FROM scratch\nCOPY rpmdb.sqlite /var/lib/rpm/rpmdb.sqlite\n")
    (world.folder / "images/broken/rpmdb.sqlite").write_bytes(b"this is no database" * 100)
    builder = world.builder()
    builder.submit(Order("broken-1", world.image("broken")))
    assert ended(builder, "broken-1").phase is Phase.SUCCEEDED
    with pytest.raises(StorageError, match="cannot be read") as error:
        world.storage.manifest("localhost/broken:f42")
    assert "\n" not in str(error.value)
