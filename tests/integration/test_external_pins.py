"""Builds on other people's images stand on exactly the digest that they were planned on, and say so."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import servers, shell
from support.buildah_world import Machine, ended, machine
from support.registries import Registry, insecure
from support.registries import registry as served

from rebuilder.builders.local_images import own_name
from rebuilder.config import Settings
from rebuilder.domain.build import BuildRequest, Phase
from rebuilder.domain.image import Image, ImageBuild, Inventory, Manifest, Parent, ParentKind, PinnedParent
from rebuilder.queries import build_records, why
from rebuilder.registry import skopeo
from rebuilder.registry.document import parse
from rebuilder.store import inventory
from rebuilder.store.database import ready
from rebuilder.store.sync import save_inventory


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with served(tmp_path_factory.mktemp("registry")) as made:
        yield made


@pytest.fixture(autouse=True)
def _without_tls(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(insecure(tmp_path, registry.host)))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    servers.need("buildah", "buildah", "busybox")
    servers.need("rpm", "rpm", "rpmbuild", "createrepo_c")
    with machine(tmp_path_factory.mktemp("pins")) as made:
        yield made


def push(world: Machine, registry: Registry, key: str, spec: str) -> PinnedParent:
    """Somebody else's image: built from what the repository offers now, pushed, and not in this machine's storage."""
    build = world.build("base", key)
    name = f"{registry.host}/{spec}"
    subprocess.run(world.storage.command("push", "-q", build.ident, f"docker://{name}"), check=True)
    digest = parse(skopeo.raw_manifest(name, 20), name).digest
    return PinnedParent(name, f"{name.rpartition(':')[0]}@{digest}")


def built(world: Machine, name: str, key: str, *pins: PinnedParent) -> ImageBuild:
    builder = world.builder()
    builder.submit(BuildRequest(key, world.image(name), externals=pins))
    assert ended(builder, key).phase is Phase.SUCCEEDED, "".join(builder.log(key))
    return builder.result(key)


def versions(build: ImageBuild) -> set[str]:
    assert build.manifest is not None
    return {rpm.version for rpm in build.manifest.rpms}


def test_a_tag_that_moves_in_mid_wave_and_an_old_local_copy_make_no_mixture(world: Machine, registry: Registry) -> None:
    old = push(world, registry, "theirs-1", "team/base:42")
    world.write("app", f"FROM {old.spec}\nRUN true\n")
    world.write("tool", f"ARG OF=42\nFROM {registry.host}/team/base:$OF AS one\nFROM {old.spec}\n"
                        f"COPY --from={old.spec} /etc /etc2\n")  # fmt: skip
    assert versions(built(world, "app", "app-1", old)) == {"3.2.1"}
    world.offer("3.2.2")
    new = push(world, registry, "theirs-2", "team/base:42")
    assert new.spec == old.spec and new.at != old.at
    on_old = built(world, "tool", "tool-1", old)
    assert (versions(on_old), on_old.externals) == ({"3.2.1"}, (old,))
    world.write("fixed", f"FROM {new.spec}@{new.at.partition('@')[2]}\nRUN true\n")
    fixed = PinnedParent(f"{new.spec}@{new.at.partition('@')[2]}", new.at)
    assert built(world, "fixed", "fixed-1", fixed).externals == (fixed,)
    on_new = built(world, "tool", "tool-2", new)
    assert (versions(on_new), on_new.externals) == ({"3.2.2"}, (new,))


def test_the_record_of_a_build_says_on_which_digests_it_stands(tmp_path: Path) -> None:
    pin = PinnedParent("registry.example.com/base:42", f"registry.example.com/base@sha256:{'1' * 64}")
    child = Image("app", "f42", (Parent(ParentKind.BASE, external=pin.spec),))
    build = ImageBuild("app:f42", "one", Manifest.of(()), externals=(pin,))
    url = f"sqlite:///{tmp_path}/rebuilder.db"
    engine = ready(url)
    with engine.begin() as connection:
        save_inventory(connection, Inventory((child,), builds=(build,)), 1.0)
        assert inventory.current_builds(connection)["app:f42"].externals == (pin,)
        assert why.read(connection, "app:f42", Settings(database_url=url), 2.0).externals == {pin.spec: pin.at}
        assert build_records.build_in_full(connection, 1).externals == {pin.spec: pin.at}
    (tmp_path / "config.toml").write_text(f'[consumer_config]\ndatabase_url = "{url}"\n')
    config = "--config", str(tmp_path / "config.toml")
    assert f"built on: {pin.at}" in shell.types(*config, "inventory", "show", "app:f42").stdout
    assert f"built on {pin.at}" in shell.types(*config, "why", "app:f42").stdout


def test_a_digest_that_the_registry_has_no_more_is_no_fault_of_the_image(world: Machine, registry: Registry) -> None:
    there = push(world, registry, "theirs-3", "team/gone:42")
    world.write("orphan", f"FROM {there.spec}\nRUN true\n")
    gone = PinnedParent(there.spec, f"{registry.host}/team/gone@sha256:{'0' * 64}")
    builder = world.builder()
    builder.submit(BuildRequest("orphan-1", world.image("orphan"), externals=(gone,)))
    status = ended(builder, "orphan-1")
    assert (status.phase, "manifest unknown" in status.reason) == (Phase.ABORTED, True)


def test_a_registry_that_is_down_is_no_fault_of_the_image(world: Machine, registry: Registry) -> None:
    there = push(world, registry, "theirs-4", "team/down:42")
    world.write("far", f"FROM {there.spec}\nRUN true\n")
    registry.stop()
    try:
        builder = world.builder()
        builder.submit(BuildRequest("far-1", world.image("far"), externals=(there,)))
        assert ended(builder, "far-1").phase is Phase.ABORTED
    finally:
        registry.start()


def test_a_base_that_was_pulled_by_digest_goes_with_the_last_build_on_it(world: Machine, registry: Registry) -> None:
    world.offer("3.2.8")
    old = push(world, registry, "theirs-5", "team/pulled:42")
    world.offer("3.2.9")
    new = push(world, registry, "theirs-6", "team/pulled:42")
    for key in ("theirs-5", "theirs-6"):
        world.storage.remove(own_name("base:f42", key))  # they were built elsewhere
    world.write("puller", f"FROM {old.spec}\nRUN true\n")
    builder = world.builder(keep_builds=1)
    for number, base in enumerate((old, new)):
        found = built(world, "puller", f"puller-{number}", base)
        builder.promote("puller:f42", f"puller-{number}", found.ident)
    assert {old.at, new.at} <= world.storage.ids().keys()
    builder.tidy(lambda keys: keys)
    assert (old.at in world.storage.ids(), new.at in world.storage.ids()) == (False, True)
