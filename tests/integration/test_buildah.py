"""Real builds with buildah."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from msgspec.structs import replace
from support import servers
from support.buildah_world import Machine, ended, machine, package, until

from rebuilder.builders.buildah import BuildahBuilder
from rebuilder.config import InventorySettings, RegistrySettings, Settings
from rebuilder.demo import rootfs, rpms
from rebuilder.domain.build import BuildRejected, BuildRequest, Phase
from rebuilder.domain.change import Change
from rebuilder.domain.errors import InfrastructureError
from rebuilder.domain.image import Image, ImageBuild, Manifest, Source
from rebuilder.domain.rpm import SourceBuild
from rebuilder.inventory import buildah
from rebuilder.inventory.buildah_cli import StorageError
from rebuilder.inventory.platforms import platform_arguments
from rebuilder.registry.short_names import full_names

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


def test_a_parent_that_arguments_name_is_pinned_too(world: Machine) -> None:
    first, second = world.build("base", "pin-1"), world.build("base", "pin-2")
    assert first.ident != second.ident
    world.write("pinned", "ARG S=f42\nFROM base:$S AS one\nFROM base:${S}\nCOPY --from=one /etc /etc\n")
    world.build("pinned", "pinned-1", (first,))
    said = subprocess.check_output(world.storage.command("inspect", "--type", "image", "localhost/pinned:f42"))
    layers = subprocess.check_output(world.storage.command("inspect", "--type", "image", first.ident))
    of = [json.loads(text)["OCIv1"]["rootfs"]["diff_ids"] for text in (said, layers)]
    assert of[0][: len(of[1])] == of[1]


def test_submitting_twice_makes_one_build(world: Machine, base: ImageBuild) -> None:
    slow(world, "twice")
    builder, order = world.builder(), BuildRequest("twice-1", world.image("twice"))
    assert builder.submit(order) == builder.submit(order)
    until(lambda: begun(builder, "twice-1"))
    assert "".join(builder.log("twice-1")).count("STEP 1/") == 1
    builder.cancel("twice-1")
    assert ended(builder, builder.submit(order).ref).phase is Phase.CANCELED


def test_a_build_that_runs_is_found_by_its_key_by_a_new_engine_and_its_log_is_readable(world: Machine) -> None:
    slow(world, "adopted")
    first = world.builder()
    submission = first.submit(BuildRequest("adopted-1", world.image("adopted")))
    second = world.builder()
    assert second.find(["adopted-1", "never"]) == {"adopted-1": submission}
    until(lambda: begun(second, "adopted-1"))
    assert second.poll(["adopted-1"])["adopted-1"].phase is Phase.RUNNING
    second.cancel("adopted-1")
    assert ended(second, "adopted-1").phase is Phase.CANCELED


def test_a_bad_build_has_failed_with_buildah_s_words_and_leaves_the_old_image(world: Machine, base: ImageBuild) -> None:
    world.write("bad", "FROM base\nRUN true\n")
    good = world.build("bad", "bad-1", (base,))
    world.write("bad", "FROM base\nRUN exit 3\n")
    builder = world.builder()
    builder.submit(BuildRequest("bad-2", world.image("bad"), (base,)))
    status = ended(builder, "bad-2")
    assert status.phase is Phase.FAILED
    assert "exit status 3" in status.reason
    assert world.storage.ids()["localhost/bad:f42"] == good.ident


def test_a_killed_build_is_aborted_not_failed(world: Machine) -> None:
    slow(world, "killed")
    builder = world.builder()
    builder.submit(BuildRequest("killed-1", world.image("killed")))
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
    builder.submit(BuildRequest("broken-1", world.image("broken")))
    assert ended(builder, "broken-1").phase is Phase.SUCCEEDED
    with pytest.raises(StorageError, match="cannot be read") as error:
        world.storage.manifest("localhost/rebuilder/broken:broken-1")
    assert "\n" not in str(error.value)
    assert builder.result("broken-1").manifest is None


def test_a_build_outlives_the_process_that_submitted_it(world: Machine) -> None:
    slow(world, "orphan")
    image, settings = world.image("orphan"), world.settings.model_dump_json()
    program = (
        "import os, signal, sys\n"
        "from rebuilder.builders.buildah import BuildahBuilder\n"
        "from rebuilder.config import BuildahSettings\n"
        "from rebuilder.domain.build import BuildRequest\n"
        "from rebuilder.domain.image import Image, Source\n"
        "builder = BuildahBuilder(BuildahSettings.model_validate_json(sys.argv[1]))\n"
        "image = Image('orphan', 'f42', source=Source(path=sys.argv[2], containerfile='Containerfile'))\n"
        "builder.submit(BuildRequest('orphan-1', image))\n"
        "os.killpg(0, signal.SIGKILL)\n"
    )
    command = [sys.executable, "-c", program, settings, image.source.path]
    assert subprocess.run(command, start_new_session=True, check=False).returncode == -signal.SIGKILL
    builder = world.builder()
    assert "orphan-1" in builder.find(["orphan-1"])
    until(lambda: begun(builder, "orphan-1"))
    assert builder.poll(["orphan-1"])["orphan-1"].phase is Phase.RUNNING
    builder.cancel("orphan-1")
    assert ended(builder, "orphan-1").phase is Phase.CANCELED


def test_a_build_canceled_at_once_is_canceled(world: Machine) -> None:
    slow(world, "hasty")
    builder = world.builder()
    builder.submit(BuildRequest("hasty-1", world.image("hasty")))
    builder.cancel("hasty-1")
    assert builder.poll(["hasty-1"])["hasty-1"].phase is Phase.CANCELED


def test_two_builds_run_at_the_same_time(world: Machine) -> None:
    builder = world.builder()
    for name in ("left", "right"):
        slow(world, name)
        builder.submit(BuildRequest(f"{name}-1", world.image(name)))
    until(lambda: begun(builder, "left-1") and begun(builder, "right-1"))
    assert {status.phase for status in builder.poll(["left-1", "right-1"]).values()} == {Phase.RUNNING}
    for name in ("left", "right"):
        builder.cancel(f"{name}-1")


@pytest.mark.parametrize("status", [130, 255])
def test_a_run_s_high_exit_status_is_a_bad_build_not_a_signal(world: Machine, base: ImageBuild, status: int) -> None:
    world.write("high", f"FROM base\nRUN echo no space left; exit {status}\n")
    builder, key = world.builder(), f"high-{status}"
    builder.submit(BuildRequest(key, world.image("high"), (base,)))
    found = ended(builder, key)
    assert found.phase is Phase.FAILED
    assert f"exit status {status}" in found.reason


def test_a_parent_s_build_that_is_gone_from_the_storage_is_trouble_not_a_bad_build(world: Machine) -> None:
    world.write("lost", "FROM base\n")
    builder = world.builder()
    builder.submit(BuildRequest("lost-1", world.image("lost"), (ImageBuild("base:f42", "0" * 64),)))
    status = ended(builder, "lost-1")
    assert status.phase is Phase.ABORTED
    assert "image not known" in status.reason


def test_a_stage_that_hides_its_own_image_is_refused_before_it_builds_the_wrong_thing(
    world: Machine, base: ImageBuild
) -> None:
    world.write("hiding", "FROM base AS base\nRUN true\nFROM base\n")
    builder = world.builder()
    with pytest.raises(InfrastructureError, match=r"hiding/Containerfile:1: .*rename"):
        builder.submit(BuildRequest("hiding-1", world.image("hiding"), (base,)))
    assert builder.find(["hiding-1"]) == {}


def test_an_image_without_a_folder_cannot_be_built_here(world: Machine) -> None:
    with pytest.raises(InfrastructureError, match="needs a source with a path"):
        world.builder().submit(BuildRequest("far-1", Image("far", source=Source(git="https://example.com/far.git"))))


def test_an_order_that_names_no_file_takes_the_usual_one_and_is_pinned_too(world: Machine, base: ImageBuild) -> None:
    world.write("plain", "FROM base\n")
    image = world.image("plain")
    builder = world.builder()
    unnamed = Image("plain", "f42", image.parents, Source(path=image.source.path))
    builder.submit(BuildRequest("plain-1", unnamed, (base,)))
    assert ended(builder, "plain-1").phase is Phase.SUCCEEDED
    assert versions(builder.result("plain-1")) == versions(base)


def test_the_labels_say_what_the_build_is_made_of_and_why(world: Machine, base: ImageBuild) -> None:
    world.write("labeled", "FROM base\n")
    builder = world.builder()
    cause = Change(SourceBuild.parse("openssl-1:3.2.2-1.fc42"), "f42")
    builder.submit(BuildRequest("labeled-1", world.image("labeled"), (base,), (cause,)))
    assert ended(builder, "labeled-1").phase is Phase.SUCCEEDED
    command = world.storage.command("inspect", "--type", "image", "localhost/rebuilder/labeled:labeled-1")
    labels = json.loads(subprocess.check_output(command))["OCIv1"]["config"]["Labels"]
    assert labels["rebuilder.key"] == "labeled-1"
    assert json.loads(labels["rebuilder.parents"]) == [base.ident]
    assert json.loads(labels["rebuilder.causes"]) == [str(cause.build)]


def annotations(world: Machine, image: str) -> dict[str, str]:
    told = json.loads(subprocess.check_output(world.storage.command("inspect", "--type", "image", image)))
    return dict(told["ImageAnnotations"])


def test_an_image_has_annotations_of_its_own_and_none_of_its_base_s(world: Machine, base: ImageBuild) -> None:
    world.write("annotated", "FROM base\n")
    pushed = RegistrySettings(push=("registry.example.com/team/{name}",))
    builder = BuildahBuilder(world.settings, published=pushed)
    named = replace(base, digest=f"sha256:{'a' * 64}")
    cause = Change(SourceBuild.parse("openssl-1:3.2.2-1.fc42"), "f42")
    builder.submit(BuildRequest("annotated-1", world.image("annotated"), (named,), (cause,), wave=7))
    assert ended(builder, "annotated-1").phase is Phase.SUCCEEDED
    found = annotations(world, "localhost/rebuilder/annotated:annotated-1")
    oci = "org.opencontainers.image."
    assert {name: value for name, value in found.items() if name != f"{oci}created"} == {
        f"{oci}version": "f42", f"{oci}source": "", f"{oci}revision": world.image("annotated").source.digest,
        f"{oci}base.name": "registry.example.com/team/base:f42", f"{oci}base.digest": named.digest,
        "rebuilder.key": "annotated-1", "rebuilder.wave": "7", "rebuilder.causes": f'["{cause.build}"]',
    }  # fmt: skip
    assert abs(datetime.fromisoformat(found[f"{oci}created"]).timestamp() - time.time()) < 60
    builder.submit(BuildRequest("annotated-2", world.image("annotated"), (base,)))
    assert ended(builder, "annotated-2").phase is Phase.SUCCEEDED
    found = annotations(world, "localhost/rebuilder/annotated:annotated-2")
    assert (found[f"{oci}base.digest"], found["rebuilder.wave"]) == ("", "")


def test_an_update_from_the_mounted_repository_is_in_the_manifest(
    world: Machine, base: ImageBuild, tmp_path: Path
) -> None:
    rpms.make(package("3.2.9"), tmp_path / "repo", tmp_path / "work")
    rpms.make(package("3.2.10"), tmp_path / "repo", tmp_path / "work")
    world.write("updated", "FROM base\nRUN upgrade-all\n")
    builder = world.builder(volumes=(f"{tmp_path / 'repo'}:/repo:ro",))
    builder.submit(BuildRequest("updated-1", world.image("updated"), (base,)))
    assert ended(builder, "updated-1").phase is Phase.SUCCEEDED
    assert versions(builder.result("updated-1")) == ["openssl-libs-1:3.2.10-1.fc42.noarch"]


def test_the_inventory_has_the_builds_that_are_there_and_says_how_far_it_is(
    world: Machine, base: ImageBuild
) -> None:
    world.write("above", "FROM base\n")
    world.write("unbuilt", "FROM base\n")
    above = world.build("above", "above-1", (base,))
    told: list[tuple[int, int]] = []
    place = InventorySettings(source="containerfiles", path=world.folder / "images", stream="f42")
    found = buildah.read(
        Settings(inventory=place, buildah=world.settings), lambda done, total: told.append((done, total))
    )
    builds = {build.image: build for build in found.builds}
    assert builds["above:f42"] == above
    assert "unbuilt:f42" in {image.key for image in found.images} - builds.keys()
    assert told == [(done, len(builds)) for done in range(1, len(builds) + 1)]


def test_an_image_that_is_named_as_its_base_is_built_on_somebody_else_s(world: Machine, base: ImageBuild) -> None:
    world.write("theirs", "FROM base\nLABEL of=them\n")
    theirs = world.build("theirs", "theirs-1", (base,))
    world.write("nginx", "FROM base\nLABEL of=us\n")
    ours = world.build("nginx", "nginx-0", (base,))
    assert world.storage.ids()["localhost/nginx:f42"] == ours.ident
    subprocess.run(world.storage.command("tag", theirs.ident, "docker.io/library/nginx:f42"), check=True)
    world.write("nginx", "FROM nginx:f42\n")
    assert [parent.external for parent in world.image("nginx").parents] == ["nginx:f42"]
    world.build("nginx", "nginx-1")
    command = world.storage.command("inspect", "--type", "image", "localhost/nginx:f42")
    assert json.loads(subprocess.check_output(command))["OCIv1"]["config"]["Labels"]["of"] == "them"


def test_a_short_name_stands_for_what_the_machine_s_registries_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = tmp_path / "registries.conf"
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(conf))
    assert full_names("nginx:f42") == ("docker.io/library/nginx:f42",)
    conf.write_text('unqualified-search-registries = ["registry.example.com", "docker.io"]\n'
                    '[aliases]\nfedora = "registry.example.org/fedora"\n')
    assert full_names("nginx:f42") == ("registry.example.com/nginx:f42", "docker.io/library/nginx:f42")
    assert full_names("fedora:42") == ("registry.example.org/fedora:42",)


def test_the_folder_s_own_file_sets_target_arguments_platform_and_how_siblings_are_named(
    world: Machine, base: ImageBuild
) -> None:
    world.write("shop", "ARG BASE\nFROM $BASE AS web\nLABEL of=web\nFROM containers-storage:localhost/base AS worker\n"
                        "ARG WHO\nARG TARGETARCH\nLABEL of=$WHO-$TARGETARCH\nFROM nowhere\n")
    here = platform_arguments()["TARGETPLATFORM"]
    (world.folder / "images/shop/rebuilder.toml").write_text(
        f'platforms = "{here}"\n[target]\nshop-web = "web"\nshop-worker = "worker"\n'
        '[build_args]\nBASE = "registry.example.com/team/base:f42"\nWHO = "worker"\n'
    )
    root = world.folder / "images/rebuilder.toml"
    root.write_text('registry = "registry.example.com/team"\n')
    try:
        for name, label in (("shop-web", "web"), ("shop-worker", f"worker-{here.partition('/')[2]}")):
            assert [parent.image for parent in world.image(name).parents] == ["base:f42"]
            built = world.build(name, f"{name}-1", (base,))
            command = world.storage.command("inspect", "--type", "image", built.ident)
            assert json.loads(subprocess.check_output(command))["OCIv1"]["config"]["Labels"]["of"] == label
            assert versions(built) == versions(base)
    finally:
        root.unlink()


def test_a_build_has_no_name_that_others_use_until_it_is_promoted(world: Machine, base: ImageBuild) -> None:
    world.write("named", "FROM base\nRUN true\n")
    first = world.build("named", "named-1", (base,))
    builder = world.builder()
    builder.submit(BuildRequest("named-2", world.image("named"), (base,)))
    assert ended(builder, "named-2").phase is Phase.SUCCEEDED
    second = builder.result("named-2")
    assert world.storage.ids()["localhost/named:f42"] == first.ident
    for _ in range(2):
        builder.promote("named:f42", "named-2", second.ident)
        assert world.storage.ids()["localhost/named:f42"] == second.ident
    assert world.storage.inspect(first.ident).key == "named-1"


def test_a_build_that_is_gone_takes_no_name(world: Machine, base: ImageBuild) -> None:
    world.write("lostname", "FROM base\nRUN true\n")
    first = world.build("lostname", "lostname-1", (base,))
    with pytest.raises(BuildRejected, match="localhost/lostname:f42 is not moved: the build 000000000000 is gone"):
        world.builder().promote("lostname:f42", "lostname-2", "0" * 64)
    assert world.storage.ids()["localhost/lostname:f42"] == first.ident
