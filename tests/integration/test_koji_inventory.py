"""The inventory as it is in Koji's tags, read from a hub over the wire."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from integration import koji_images
from integration.koji_images import SSL, TAG, build, image, known, parents, read, settings
from sqlalchemy import Engine, func, select
from support import koji_hub
from support.koji_builds import Koji

from rebuilder.domain.errors import InfrastructureError, RequestError
from rebuilder.domain.image import Source
from rebuilder.engine import inventory_sync
from rebuilder.inventory.koji import images
from rebuilder.inventory.koji.images import Known
from rebuilder.inventory.koji.manifests import Contents
from rebuilder.inventory.koji.session import KojiSession
from rebuilder.store import inventory
from rebuilder.store.database import reading
from rebuilder.store.models import Image as ImageRow
from rebuilder.store.models import ReadManifest

running = koji_images.running


def test_images_parents_sources_and_manifests_are_read(running: koji_hub.Hub) -> None:
    found = read(running)
    assert {image.key for image in found.images} == {"base:f42", "httpd:f42", "web:f42"}
    assert parents(found, "base:f42") == [("registry.example.com/fedora:42", "base")]
    assert parents(found, "httpd:f42") == [("base:f42", "base")]
    assert parents(found, "web:f42") == [("httpd:f42", "base"), ("base:f42", "stage")]
    assert image(found, "httpd:f42").source == Source("https://src.example.com/httpd", "f42", "h1")
    assert image(found, "httpd:f42").estimate == 240.5
    httpd = build(found, "httpd:f42")
    assert (httpd.ident, httpd.parents, httpd.digest) == ("httpd-2.4-7", ("base-42-1",), "sha256:httpd7")
    assert httpd.tags[:2] == ("registry.example.com/f42/httpd:latest", "registry.example.com/f42/httpd:2.4")
    assert httpd.manifest is not None
    assert {rpm.nevra for rpm in httpd.manifest.rpms} == {
        f"{nevra}.{arch}"
        for nevra in ("openssl-libs-1:3.2.1-1.fc42", "bash-5.2-1.fc42")
        for arch in ("x86_64", "aarch64")
    }
    assert {rpm.sourcerpm for rpm in httpd.manifest.rpms} == {
        "openssl-3.2.1-1.fc42.src.rpm", "bash-5.2-1.fc42.src.rpm",
    }  # fmt: skip


def test_what_is_no_container_image_is_left_out(running: koji_hub.Hub) -> None:
    disk = running.koji.image("cloud-42-1", TAG, [SSL])
    running.koji.builds[disk]["extra"] = {"image": {"arch": "x86_64"}}
    flatpak = running.koji.image("editor-42-1", TAG, [SSL])
    running.koji.builds[flatpak]["extra"]["image"]["flatpak"] = True
    running.koji.source_build("openssl-3.2.2-1.fc42", tag=TAG)
    found = read(running)
    assert {image.name for image in found.images} == {"base", "httpd", "web"}
    assert {build.image for build in found.builds} == {image.key for image in found.images}
    assert found.hints == ("left out, because rebuilder does not build Flatpaks: editor:f42",)


@pytest.mark.parametrize("extra", [
    {"typeinfo": {"operator-manifests": {"archive": "operator_manifests.zip"}}},
    {"operator_manifests_archive": "operator_manifests.zip"},
])  # fmt: skip
def test_operator_manifests_are_left_to_koji_s_own_builder(running: koji_hub.Hub, extra: dict[str, Any]) -> None:
    for number in range(7):
        bundle = running.koji.image(f"bundle{number}-1-1", TAG, [SSL])
        running.koji.builds[bundle]["extra"] |= extra
    found = read(running, builder="osbs")
    assert {image.name for image in found.images} == {"base", "httpd", "web"}
    (told,) = found.hints
    assert told.startswith("left out, because rebuilder does not build operator manifests with OSBS: bundle0:f42, ")
    assert told.endswith(" and 3 more")
    assert len(read(running).images) == 10


def test_rpms_from_elsewhere_and_without_an_epoch_are_taken_too(running: koji_hub.Hub) -> None:
    running.koji.image("odd-1-1", TAG, ["vendor-tool-7-1.x86_64"])
    manifest = build(read(running), "odd:f42").manifest
    assert manifest is not None
    assert {(rpm.nevra, rpm.sourcerpm) for rpm in manifest.rpms} == {
        ("vendor-tool-7-1.x86_64", "vendor-tool"), ("vendor-tool-7-1.aarch64", "vendor-tool"),
    }  # fmt: skip


def test_an_image_that_cannot_be_read_is_unknown_and_stops_no_other(running: koji_hub.Hub) -> None:
    bare = running.koji.image("bare-1-1", TAG, [SSL])
    running.koji.archives[bare].clear()
    found = read(running)
    assert build(found, "bare:f42").manifest is None
    assert build(found, "base:f42").manifest is not None


def test_only_builds_that_are_not_known_are_read(running: koji_hub.Hub) -> None:
    before = known(read(running))
    running.calls.clear()
    again = read(running, before)
    assert known(again) == before
    assert all(build.manifest is None for build in again.builds)
    assert set(running.calls) == {"listTagged"}
    running.koji.image("httpd-2.4-8", TAG, [SSL], {"reg/f42/base:latest": "base-42-1"}, "base-42-1", commit="h2")
    running.calls.clear()
    found = read(running, before)
    assert (build(found, "httpd:f42").ident, image(found, "httpd:f42").source.commit) == ("httpd-2.4-8", "h2")
    assert running.calls["listRPMs"] == 2 + 2, "two architectures, and a row in both forms to know the columns"
    assert running.calls["listArchives"] == 1


def test_columns_in_an_order_that_is_not_understood_are_asked_for_by_name(running: koji_hub.Hub) -> None:
    expected = {build.image: build.manifest for build in read(running).builds}
    running.koji.order = lambda names: sorted(names, reverse=True)
    assert {build.image: build.manifest for build in read(running).builds} == expected


def test_rpms_whose_source_build_cannot_be_read_now_are_asked_for_again(
    running: koji_hub.Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = settings(running.url)
    contents = Contents(KojiSession(chosen.koji))
    number = running.koji.by_nvr("base-42-1")["id"]

    def sources() -> set[str]:
        manifest = contents.read([number])[number]
        assert manifest is not None
        return {rpm.sourcerpm for rpm in manifest.rpms}

    with monkeypatch.context() as patch:
        patch.setattr(running.koji, "get_build", lambda build: None)
        assert sources() == {"openssl-libs", "bash"}
    assert sources() == {"openssl-3.2.1-1.fc42.src.rpm", "bash-5.2-1.fc42.src.rpm"}


def test_a_read_that_is_broken_off_goes_on_where_it_was(
    store: Engine, running: koji_hub.Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "READ_TOGETHER", 1)
    chosen = settings(running.url)
    read(running)
    whole = running.calls["listRPMs"]

    def breaks_off(done: int, total: int) -> None:
        if done == 2:
            raise InfrastructureError("the engine ends here")

    with pytest.raises(InfrastructureError):
        inventory_sync.fetch(store, chosen, breaks_off)
    with reading(store) as connection:
        assert connection.scalar(select(func.count()).select_from(ImageRow)) == 0, "no image of half an inventory"
    before = running.calls["listRPMs"]
    fetched = inventory_sync.fetch(store, chosen)
    assert 0 < running.calls["listRPMs"] - before < whole, "what was read is not read again"
    with store.begin() as connection:
        inventory_sync.save(connection, fetched, 0.0)
    with reading(store) as connection:
        assert connection.scalar(select(func.count()).select_from(ReadManifest)) == 0
        web = inventory.manifest_of(connection, "web:f42")
    assert web is not None
    assert web.manifest is not None


def test_a_tag_that_koji_does_not_have_is_named(running: koji_hub.Hub) -> None:
    with pytest.raises(RequestError, match=r"streams\.f42\.koji_tags: f42-nothing: Invalid tagInfo"):
        read(running, streams={"f42": {"koji_tags": ["f42-nothing"]}})
    with pytest.raises(RequestError, match=r"set consumer_config\.streams\.NAME\.koji_tags"):
        read(running, streams={})


@pytest.mark.parametrize("trouble", ["refused", "offline", "503"])
def test_a_hub_that_is_away_is_trouble(running: koji_hub.Hub, trouble: str) -> None:
    with running.away(trouble), pytest.raises(InfrastructureError):
        read(running)


def test_progress_is_told(running: koji_hub.Hub) -> None:
    told: list[tuple[int, int]] = []
    chosen = settings(running.url)
    images.read(KojiSession(chosen.koji), chosen, Known(), lambda done, total: told.append((done, total)))
    assert told[-1] == (3, 3)


def test_the_round_trips_do_not_grow_one_for_one_with_the_images(tmp_path: Path) -> None:
    def trips(count: int) -> int:
        with koji_hub.Hub(Koji()) as made:
            made.koji.image("base-42-1", TAG, [SSL])
            for number in range(count):
                made.koji.image(f"app{number}-1-1", TAG, [SSL], {"reg/f42/base": "base-42-1"}, "base-42-1")
            assert len(read(made).images) == count + 1
            return made.requests

    few, many = trips(10), trips(110)
    assert few < 10
    assert many - few < 100 / 10
