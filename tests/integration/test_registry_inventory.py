"""The inventory as a registry has it: real images in a real registry, whoever built them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from sqlalchemy import Engine
from support import registries, servers, shell
from support.authority import Authority
from support.registries import Registry, insecure, layer, with_rpms

from rebuilder.config import Settings, settings_of
from rebuilder.demo.process import LOOPBACK, free_port
from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import Image, Inventory, Parent, ParentKind
from rebuilder.engine import inventory_sync
from rebuilder.inventory.registry import images
from rebuilder.registry import catalog
from rebuilder.registry.errors import RegistryError
from rebuilder.store import inventory as stored
from rebuilder.store.database import reading, ready

OLD, NEW = "openssl-3.2.1-1.fc42", "openssl-3.2.2-1.fc42"
BASE, STEP, TOP = with_rpms, layer({"step": b"1"}), layer({"top": b"1"})
LABEL = "org.opencontainers.image"


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    with registries.registry(tmp_path / "registry") as made:
        monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(insecure(tmp_path, made.host)))
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        yield made


def settings(registry: Registry, *repositories: str, **inventory: object) -> Settings:
    names = [f"{registry.host}/{name}" for name in repositories or ("team/base", "team/mid", "team/app")]
    return settings_of({
        "inventory": {"source": "registry", "repositories": names, **inventory},
        "streams": {"f42": {"dist": ".fc42", "tags": ["42", "42-*"]}},
    })  # fmt: skip


def read(registry: Registry, *repositories: str, **inventory: object) -> dict[str, Image]:
    found = images.read(settings(registry, *repositories, **inventory), images.Known())
    assert not found.faults
    return {image.key: image for image in found.images}


def parents(found: Mapping[str, Image]) -> dict[str, list[str]]:
    return {key: [str(parent) for parent in image.parents] for key, image in found.items()}


def labeled(**labels: str) -> dict[str, object]:
    return {"config": {"Labels": {f"{LABEL}.{name.replace('_', '.')}": value for name, value in labels.items()}}}


def test_parents_are_found_by_layers_however_these_are_compressed_and_the_nearest_is_the_parent(
    registry: Registry,
) -> None:
    registry.push("team/base:42", [BASE(OLD)])
    registry.push("team/mid:42", [BASE(OLD, compression="zstd"), STEP])
    registry.push("team/app:42", [BASE(OLD), layer({"step": b"1"}, "zstd"), TOP])
    found = images.read(settings(registry), images.Known())
    assert parents({image.key: image for image in found.images}) == {
        "base:f42": [], "mid:f42": ["base:f42"], "app:f42": ["mid:f42"],
    }  # fmt: skip
    builds = {build.image: build for build in found.builds}
    assert builds["app:f42"].parents == (builds["mid:f42"].ident,)
    assert builds["app:f42"].tags == (f"{registry.host}/team/app:42",)
    for build in builds.values():
        assert build.manifest is not None and {str(rpm) for rpm in build.manifest.rpms} == {f"{OLD}.noarch"}


def test_of_the_tags_that_fit_a_stream_the_first_pattern_counts_and_then_the_latest(registry: Registry) -> None:
    for tag, content in (("42-9", b"9"), ("42-10", b"10"), ("41", b"41")):
        registry.push(f"team/base:{tag}", [layer({"number": content})])
    assert read(registry, "team/base")["base:f42"].pull_spec == f"{registry.host}/team/base:42-10"
    registry.push("team/base:42", [layer({"number": b"42"})])
    found = read(registry, "team/base")
    assert {key: image.pull_spec for key, image in found.items()} == {"base:f42": f"{registry.host}/team/base:42"}


def test_with_no_stream_configured_every_tag_is_one_but_for_what_is_attached_to_images(registry: Registry) -> None:
    digest = registry.push("team/base:42", [STEP])
    registry.push("team/base:latest", [TOP])
    registry.push(f"team/base:{digest.replace(':', '-')}.sig", [TOP])
    names = [f"{registry.host}/team/base"]
    found = images.read(settings_of({"inventory": {"source": "registry", "repositories": names}}), images.Known())
    assert {image.key for image in found.images} == {"base:42", "base:latest"}


def test_labels_name_the_parent_that_no_layer_tells_of(registry: Registry) -> None:
    registry.push("team/base:42", [BASE(OLD)])
    squashed = labeled(base_name=f"{registry.host}/team/base:42")
    registry.push("team/mid:42", [layer({"squashed": b"1"})], **squashed)
    far = labeled(base_name="quay.example.com/fedora/fedora:42", base_digest=f"sha256:{'1' * 64}")
    registry.push("team/app:42", [layer({"other": b"1"})], **far)
    found = images.read(settings(registry), images.Known())
    by_key = {image.key: image for image in found.images}
    assert by_key["mid:f42"].parents == (Parent(ParentKind.BASE, "base:f42"),)
    assert by_key["app:f42"].parents == (Parent(ParentKind.BASE, external="quay.example.com/fedora/fedora:42"),)
    (pin,) = next(build for build in found.builds if build.image == "app:f42").externals
    assert pin.at == f"quay.example.com/fedora/fedora@sha256:{'1' * 64}"


def test_the_source_is_what_the_configuration_says_else_the_image_s_own_labels_never_its_parent_s(
    registry: Registry,
) -> None:
    of_base = labeled(source="https://example.com/base.git", revision="abc")
    registry.push("team/base:42", [BASE(OLD)], **of_base)
    registry.push("team/mid:42", [BASE(OLD), STEP], **of_base)
    registry.push("team/app:42", [BASE(OLD), STEP, TOP], **labeled(source="https://example.com/app.git"))
    registry.push("team/tool:42", [BASE(OLD), TOP], **labeled(source="https://example.com/tool.git"))
    told = {"tool": {"git": "https://example.com/moved.git", "ref": "f42", "containerfile": "tool/Containerfile"}}
    found = read(registry, "team/base", "team/mid", "team/app", "team/tool", sources=told)
    assert {key: (image.source.git, image.source.commit, image.source.ref) for key, image in found.items()} == {
        "base:f42": ("https://example.com/base.git", "abc", ""), "mid:f42": ("", "", ""),
        "app:f42": ("https://example.com/app.git", "", ""), "tool:f42": ("https://example.com/moved.git", "", "f42"),
    }  # fmt: skip
    assert found["tool:f42"].source.containerfile == "tool/Containerfile"


def test_a_pattern_is_looked_up_in_the_catalog_and_names_that_are_alike_are_told_by_their_paths(
    registry: Registry,
) -> None:
    for name in ("team/base", "team/app", "others/app", "third/tool"):
        registry.push(f"{name}:42", [layer({"name": name.encode()})])
    assert set(read(registry, "team/*", "others/app")) == {"base:f42", "team-app:f42", "others-app:f42"}
    with pytest.raises(RequestError, match=r"no repository matches \S+/nobody/"):
        read(registry, "nobody/*")


def test_the_catalog_of_a_registry_that_wants_a_login_is_read_with_that_of_auth_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    with registries.private(tmp_path / "private") as private:
        monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(insecure(tmp_path, private.host)))
        private.push("team/base:42", [BASE(OLD)])
        with pytest.raises(RegistryError, match=f"skopeo login {private.host}"):
            read(private, "team/*")
        (tmp_path / "auth.json").write_text(registries.logins({private.host: "builder:secret"}))
        assert set(read(private, "team/*")) == {"base:f42"}


def test_the_catalog_of_a_registry_that_is_away_or_not_trusted_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RegistryError, match="cannot be reached"):
        catalog.repositories(f"{LOOPBACK}:{free_port()}", 5)
    certificate = str(Authority(tmp_path).issue("server"))
    tls = {"http": {"tls": {"certificate": certificate, "key": certificate}}}
    with registries.registry(tmp_path / "foreign", more=tls, scheme="https") as foreign, pytest.raises(
        RegistryError, match=r"certs\.d/"
    ):
        catalog.repositories(foreign.host, 5)


def synced(registry: Registry, tmp_path: Path) -> tuple[Engine, Settings, str]:
    config = tmp_path / "config.toml"
    config.write_text(f"""[consumer_config]
database_url = "sqlite:///{tmp_path}/rebuilder.db"
[consumer_config.inventory]
source = "registry"
repositories = ["{registry.host}/team/base", "{registry.host}/team/mid", "{registry.host}/team/app"]
[consumer_config.streams.f42]
dist = ".fc42"
tags = ["42"]
""")
    found = settings(registry)
    url = f"sqlite:///{tmp_path}/rebuilder.db"
    engine = ready(url)
    inventory_sync.sync(engine, found, "me")
    return engine, found, str(config)


def test_a_parent_that_moved_on_is_the_parent_still_also_of_an_image_that_was_pushed_on_the_old_one(
    registry: Registry, tmp_path: Path
) -> None:
    registry.push("team/base:42", [BASE(OLD)])
    first = registry.push("team/mid:42", [BASE(OLD), STEP])
    registry.push("team/app:42", [BASE(OLD), STEP, TOP])
    engine, found, config = synced(registry, tmp_path)
    registry.push("team/base:42", [BASE(NEW)])
    registry.push("team/mid:42", [BASE(NEW), STEP])
    registry.push("team/app:42", [BASE(OLD), STEP, layer({"top": b"2"})])
    for _ in range(2):
        inventory_sync.sync(engine, found, "me")
        with reading(engine) as connection:
            graph, builds = stored.load(connection), stored.current_builds(connection)
        assert parents({image.key: image for image in graph.images}) == {
            "base:f42": [], "mid:f42": ["base:f42"], "app:f42": ["mid:f42"],
        }  # fmt: skip
        assert builds["app:f42"].parents == (first,)
    answer = shell.types("--config", config, "plan", "--update", NEW, "--json").stdout
    assert '"image": "app:f42"' in answer and '"image": "base:f42", "depends_on"' not in answer


def test_one_cheap_request_for_each_tag_is_all_that_is_asked_where_nothing_has_changed(
    registry: Registry, tmp_path: Path
) -> None:
    registry.push("team/base:42", [BASE(OLD)])
    for name in ("mid", "app"):
        registry.push(f"team/{name}:42", [BASE(OLD), layer({name: b"1"})])
    engine, found, _ = synced(registry, tmp_path)
    before = len(registry.requests("/v2/"))
    assert registry.requests("/blobs/")
    inventory_sync.sync(engine, found, "me")
    asked = registry.requests("/v2/")[before:]
    assert sorted(asked) == [f"HEAD /v2/team/{name}/manifests/42" for name in ("app", "base", "mid")]


def test_where_a_tag_that_was_first_has_gone_the_next_one_of_its_stream_counts(
    registry: Registry, tmp_path: Path
) -> None:
    gone = registry.push("team/base:42", [BASE(OLD)])
    for name in ("mid", "app"):
        registry.push(f"team/{name}:42", [layer({name: b"1"})])
    engine, found, _ = synced(registry, tmp_path)
    registry.push("team/base:42-7", [BASE(NEW)])
    registry.delete("team/base", gone)
    inventory_sync.sync(engine, found, "me")
    with reading(engine) as connection:
        specs = {image.key: image.pull_spec for image in stored.load(connection).images}
    assert specs["base:f42"] == f"{registry.host}/team/base:42-7"


def test_where_a_mirror_is_set_up_skopeo_alone_says_what_a_tag_is(registry: Registry, tmp_path: Path) -> None:
    registry.push("team/base:42", [BASE(OLD)])
    engine, found, _ = synced(registry, tmp_path)
    mirror = f'[[registry.mirror]]\nlocation = "{registry.host}/mirrored"\ninsecure = true\n'
    with (tmp_path / "registries.conf").open("a") as file:
        file.write(mirror)
    moved = registry.push("mirrored/team/base:42", [BASE(NEW)])
    inventory_sync.sync(engine, found, "me")
    with reading(engine) as connection:
        assert stored.current_builds(connection)["base:f42"].digest == moved


def known_of(found: Inventory) -> images.Known:
    return images.Known({i.key: i for i in found.images}, {b.image: b.ident for b in found.builds})


def test_a_registry_that_is_away_changes_nothing_and_a_tag_that_has_gone_leaves(
    registry: Registry, tmp_path: Path
) -> None:
    registry.push("team/base:42", [BASE(OLD)])
    registry.push("team/mid:42", [BASE(OLD), STEP])
    gone = registry.push("team/app:42", [BASE(OLD), TOP])
    engine, found, config = synced(registry, tmp_path)
    registry.delete("team/app", gone)
    inventory_sync.sync(engine, found, "me")
    with reading(engine) as connection:
        assert {image.key for image in stored.load(connection).images} == {"base:f42", "mid:f42"}
    registry.stop()
    with pytest.raises(RegistryError):
        inventory_sync.sync(engine, found, "me")
    done = shell.types("--config", config, "inventory", "sync")
    assert done.returncode == 3 and "Traceback" not in done.stderr and len(done.stderr.splitlines()) == 1
    with reading(engine) as connection:
        assert {image.key for image in stored.load(connection).images} == {"base:f42", "mid:f42"}


def test_what_is_no_image_is_a_fault_and_stops_no_other(registry: Registry) -> None:
    registry.push("team/base:42", [BASE(OLD)])
    config = registry.blob("team/mid", b"[]")
    registry.put("team/mid", "42", {
        "schemaVersion": 2, "mediaType": registries.MANIFEST, "layers": [],
        "config": {"mediaType": "application/json", "size": 2, "digest": config},
    })  # fmt: skip
    found = images.read(settings(registry, "team/base", "team/mid"), images.Known())
    assert {image.key for image in found.images} == {"base:f42"}
    (fault,) = found.faults
    assert fault.image == "mid:f42" and "cannot be read" in fault.told


def test_the_child_that_buildah_built_and_pushed_is_found_by_its_layers(registry: Registry, tmp_path: Path) -> None:
    servers.need("buildah", "buildah")
    registry.push("team/base:42", [BASE(OLD)])
    (tmp_path / "Containerfile").write_text(f"FROM {registry.host}/team/base:42\nENV of=them\nCOPY Containerfile /f\n")
    buildah = ["buildah", f"--root={tmp_path}/s", f"--runroot={tmp_path}/r", "--storage-driver=vfs"]
    subprocess.run([*buildah, "bud", "-q", "--isolation=chroot", "-t", "app", str(tmp_path)], check=True)
    subprocess.run([*buildah, "push", "-q", "app", f"docker://{registry.host}/team/app:42"], check=True)
    assert parents(read(registry, "team/base", "team/app")) == {"base:f42": [], "app:f42": ["base:f42"]}


@pytest.mark.parametrize(("written", "told"), [
    ("team/app", "is not a repository"), ("registry.example.com", "is not a repository"),
    ("registry.example.com/app:42", "has a tag: which tags count, streams.NAME.tags says"),
])  # fmt: skip
def test_what_is_no_repository_is_told_with_the_key(written: str, told: str) -> None:
    with pytest.raises(RequestError, match=rf"inventory\.repositories.*{told}"):
        settings_of({"inventory": {"source": "registry", "repositories": [written]}})


def test_without_repositories_it_says_which_key_is_missing(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        f'[consumer_config]\ndatabase_url = "sqlite:///{tmp_path}/r.db"\n'
        '[consumer_config.inventory]\nsource = "registry"\n'
    )
    done = shell.types("--config", str(tmp_path / "config.toml"), "inventory", "sync")
    assert (done.returncode, "consumer_config.inventory: name the repositories" in done.stderr) == (2, True)
