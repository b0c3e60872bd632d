"""The inventory as it is in Koji's tags, read from a hub over the wire."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, select
from support import koji_hub
from support.koji_tasks import Koji

from rebuilder.config import Settings
from rebuilder.domain.errors import InfrastructureError, RequestError
from rebuilder.domain.image import Image, ImageBuild, Inventory, Source
from rebuilder.engine import inventory_sync
from rebuilder.inventory.koji import images, tag_builds
from rebuilder.inventory.koji.images import Known
from rebuilder.inventory.koji.manifests import Contents
from rebuilder.inventory.koji.session import KojiSession
from rebuilder.store import inventory
from rebuilder.store.database import reading
from rebuilder.store.models import Image as ImageRow
from rebuilder.store.models import ReadManifest

SSL = "openssl-libs-1:3.2.1-1.fc42.x86_64 openssl-3.2.1-1.fc42"
BASH = "bash-5.2-1.fc42.x86_64 bash-5.2-1.fc42"
TAG = "f42-images"


@pytest.fixture
def running() -> Iterator[koji_hub.Hub]:
    """A hub with three levels: base, httpd on it, and web on httpd with a stage of base."""
    with koji_hub.Hub(Koji()) as made:
        koji = made.koji
        koji.image("base-42-1", TAG, [SSL, BASH], {"registry.example.com/fedora:42": None})
        koji.image("httpd-2.4-7", TAG, [SSL, BASH], {"reg/f42/base:latest": "base-42-1"}, "base-42-1", commit="h1")
        above = {"reg/f42/base:latest": "base-42-1", "reg/f42/httpd": "httpd-2.4-7"}
        koji.image("web-1-3", TAG, [SSL], above, "httpd-2.4-7")
        yield made


def settings(url: str, **changes: Any) -> Settings:
    streams = {"f42": {"dist": ".fc42", "koji_tags": [TAG], "koji_target": "f42-container"}}
    return Settings.model_validate(
        {"streams": streams, "inventory": {"source": "koji"}, "koji": {"hub": url, "timeout_seconds": 5}, **changes}
    )


def read(running: koji_hub.Hub, known: Known | None = None, **changes: Any) -> Inventory:
    chosen = settings(running.url, **changes)
    return images.read(KojiSession(chosen.koji), chosen, known or Known())


def image(found: Inventory, key: str) -> Image:
    return next(image for image in found.images if image.key == key)


def build(found: Inventory, key: str) -> ImageBuild:
    return next(build for build in found.builds if build.image == key)


def parents(found: Inventory, key: str) -> list[tuple[str, str]]:
    return [(str(parent), str(parent.kind)) for parent in image(found, key).parents]


def known(found: Inventory) -> Known:
    """What the store has after this was read."""
    return Known({image.key: image for image in found.images}, {build.image: build.ident for build in found.builds})


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


def test_a_parent_without_a_build_in_koji_is_found_by_its_published_tags(running: koji_hub.Hub) -> None:
    spec = "registry.example.com/f42/httpd:2.4"
    running.koji.image("late-1-1", TAG, [SSL], {spec: None})
    assert parents(read(running), "late:f42") == [("httpd:f42", "base")]


def test_published_tags_of_images_that_are_known_already_are_read_when_one_is_looked_for(running: koji_hub.Hub) -> None:
    before = known(read(running))
    running.koji.image("late-1-1", TAG, [SSL], {"registry.example.com/f42/httpd": None})
    found = read(running, before)
    assert parents(found, "late:f42") == [("httpd:f42", "base")]
    assert build(found, "httpd:f42").manifest is None, "it was not read again"


def test_a_parent_that_enters_the_tags_later_is_external_no_more(running: koji_hub.Hub) -> None:
    running.koji.image("early-1-1", TAG, [SSL], {"registry.example.com/f42/new": None})
    before = read(running)
    assert parents(before, "early:f42") == [("registry.example.com/f42/new", "base")]
    running.koji.image("new-1-1", TAG, [SSL])
    assert parents(read(running, known(before)), "early:f42") == [("new:f42", "base")]


def test_a_parent_is_known_by_an_earlier_build_of_it(running: koji_hub.Hub) -> None:
    running.koji.image("base-42-2", TAG, [SSL, BASH])
    found = read(running)
    assert build(found, "base:f42").ident == "base-42-2"
    assert parents(found, "httpd:f42") == [("base:f42", "base")]
    assert build(found, "httpd:f42").parents == ("base-42-1",)


def test_an_image_from_scratch_has_no_base_and_one_on_itself_is_no_cycle(running: koji_hub.Hub) -> None:
    running.koji.image("tool-1-1", TAG, [], {"reg/f42/base:latest": "base-42-1"})
    running.koji.image("base-42-2", TAG, [SSL], {"reg/f42/base:latest": "base-42-1"}, "base-42-1")
    found = read(running)
    assert parents(found, "tool:f42") == [("base:f42", "stage")]
    assert parents(found, "base:f42") == [("reg/f42/base:latest", "base")]


def test_a_base_of_which_koji_told_only_the_number_is_found(running: koji_hub.Hub) -> None:
    running.koji.image("plain-1-1", TAG, [SSL], {}, "base-42-1")
    assert parents(read(running), "plain:f42") == [("base:f42", "base")]


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


def test_the_newest_of_all_tags_of_a_stream_is_taken_and_streams_are_apart(running: koji_hub.Hub) -> None:
    running.koji.image("base-42-9", "f42-updates", [SSL])
    running.koji.image("base-41-1", "f41-images", [SSL], stream="f41")
    running.koji.image("httpd-2.4-8", "f41-images", [], {"reg/f41/base:latest": "base-41-1"}, "base-41-1", "f41")
    streams = {"f42": {"koji_tags": [TAG, "f42-updates"]}, "f41": {"koji_tags": ["f41-images"], "git_branch": "old"}}
    found = read(running, streams=streams)
    assert build(found, "base:f42").ident == "base-42-9"
    assert build(found, "base:f41").ident == "base-41-1"
    assert parents(found, "httpd:f41") == [("base:f41", "base")]


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


def test_a_build_of_ours_that_is_not_tagged_yet_stays_the_current_one(running: koji_hub.Hub) -> None:
    before = known(read(running))
    running.koji.image("httpd-2.4-10", "f42-candidate", [SSL])
    ours = Known(before.images, {**before.builds, "httpd:f42": "httpd-2.4-10"})
    assert build(read(running, ours), "httpd:f42").ident == "httpd-2.4-10"
    running.koji.by_nvr("httpd-2.4-10")["state"] = 2
    assert build(read(running, ours), "httpd:f42").ident == "httpd-2.4-7", "it was deleted"


@pytest.fixture
def ahead(running: koji_hub.Hub) -> Known:
    """What is known after httpd-2.4-10 was built and taken into the tag, as the newest of two."""
    running.koji.image("httpd-2.4-10", TAG, [SSL], commit="h10")
    return known(read(running))


def test_a_build_that_was_untagged_is_current_no_more(running: koji_hub.Hub, ahead: Known) -> None:
    running.koji.untag(running.koji.by_nvr("httpd-2.4-10")["id"], TAG)
    found = read(running, ahead)
    assert (build(found, "httpd:f42").ident, image(found, "httpd:f42").source.commit) == ("httpd-2.4-7", "h1")


def test_the_build_that_was_tagged_last_is_current_though_it_is_older(running: koji_hub.Hub, ahead: Known) -> None:
    running.koji.tag(running.koji.by_nvr("httpd-2.4-7")["id"], TAG)
    assert build(read(running, ahead), "httpd:f42").ident == "httpd-2.4-7"


def test_a_build_that_was_taken_out_of_all_tags_is_not_expected_in_another(running: koji_hub.Hub) -> None:
    before = known(read(running))
    candidate = running.koji.image("httpd-2.4-10", "f42-candidate", [SSL])
    ours = Known(before.images, {**before.builds, "httpd:f42": "httpd-2.4-10"})
    running.koji.untag(candidate, "f42-candidate")
    assert build(read(running, ours), "httpd:f42").ident == "httpd-2.4-7"
    running.koji.tag(candidate, "f42-pending")
    assert build(read(running, ours), "httpd:f42").ident == "httpd-2.4-10"


def test_a_build_is_not_expected_in_the_tag_for_ever(running: koji_hub.Hub) -> None:
    before = known(read(running))
    running.koji.image("httpd-2.4-10", "", [SSL])
    ours = Known(before.images, {**before.builds, "httpd:f42": "httpd-2.4-10"})
    assert build(read(running, ours), "httpd:f42").ident == "httpd-2.4-10"
    running.koji.by_nvr("httpd-2.4-10")["completion_ts"] -= 15 * 86400
    assert build(read(running, ours), "httpd:f42").ident == "httpd-2.4-7"


def test_draft_builds_are_left_out_and_hide_nothing(running: koji_hub.Hub) -> None:
    running.koji.image("httpd-2.4-8,draft_57", TAG, [SSL])
    running.koji.source_build("bash-5.3-1.fc42", tag=TAG)
    running.koji.source_build("bash-5.4-1.fc42,draft_58", tag=TAG)
    assert build(read(running), "httpd:f42").ident == "httpd-2.4-7"
    assert [str(build) for build in tag_builds.newest(KojiSession(settings(running.url).koji), TAG, ["bash"])] == [
        "bash-5.3-1.fc42"
    ]


def test_what_a_tag_offers_is_asked_for_once_for_all_packages(running: koji_hub.Hub) -> None:
    for number in range(300):
        running.koji.source_build(f"package{number}-1-1.fc42", tag="f42-updates")
        running.koji.source_build(f"package{number}-2-1.fc42", tag="f42-updates")
    running.koji.image("package7-9-9", "f42-updates", [SSL])
    session = KojiSession(settings(running.url).koji)
    found = [str(build) for build in tag_builds.newest(session, "f42-updates", ["package1", "package7", "nothing"])]
    assert found == ["package1-2-1.fc42"], "the latest package7 is an image"
    assert running.requests == 2
    assert list(tag_builds.newest(session, TAG, ["base", "httpd"])) == [], "a tag of images"
    assert list(tag_builds.newest(session, "f42-nothing", ["bash"])) == []


# --- what atomic-reactor writes of parents


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("httpd", "registry.example.com/httpd:latest"),
        ("f42/httpd:2.4", "registry.example.com/f42/httpd:2.4"),
        ("f42/httpd:2.4", "registry.example.com/org/f42-httpd:2.4"),
        ("library/httpd", "docker.io/library/httpd:latest"),
        ("docker.io/httpd", "docker.io/library/httpd:latest"),
        ("f42/httpd@sha256:abc", "registry.example.com/f42/httpd@sha256:abc"),
        ("f42/httpd:2.4", "registry.example.com/f42/httpd@sha256:abc"),
        ("localhost:5000/httpd", "localhost:5000/httpd:latest"),
    ],
)
def test_a_from_is_the_parent_that_it_was_looked_up_as(running: koji_hub.Hub, text: str, key: str) -> None:
    running.koji.image("late-1-1", TAG, [SSL], {key: "httpd-2.4-7"}, "httpd-2.4-7", froms=[text])
    assert parents(read(running), "late:f42") == [("httpd:f42", "base")]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("golang", "registry.example.com/golang:1.22"),
        ("golang", "registry.example.com/my-golang:latest"),
        ("docker.io/golang", "registry.example.com/golang:latest"),
        ("golang@sha256:abc", "registry.example.com/golang@sha256:def"),
    ],
)
def test_a_from_that_is_another_image_is_a_parent_of_its_own(running: koji_hub.Hub, text: str, key: str) -> None:
    running.koji.image("late-1-1", TAG, [SSL], {key: "httpd-2.4-7"}, "httpd-2.4-7", froms=[text])
    assert parents(read(running), "late:f42") == [("httpd:f42", "base"), (text, "stage")]


def test_from_scratch_is_no_parent(running: koji_hub.Hub) -> None:
    builds = {"registry.example.com/golang:latest": None, "registry.example.com/f42/base:latest": "base-42-1"}
    running.koji.image("tool-1-1", TAG, [], builds, froms=["golang", "f42/base", "scratch"])
    assert parents(read(running), "tool:f42") == [
        ("registry.example.com/golang:latest", "stage"), ("base:f42", "stage"),
    ]  # fmt: skip
    running.koji.image("bare-1-1", TAG, [], {}, froms=["scratch"])
    assert parents(read(running), "bare:f42") == []


def test_a_parent_without_a_build_that_is_the_last_from_is_the_base(running: koji_hub.Hub) -> None:
    running.koji.image("late-1-1", TAG, [SSL], {"quay.example.com/fedora/fedora:42": None}, froms=["fedora/fedora:42"])
    assert parents(read(running), "late:f42") == [("quay.example.com/fedora/fedora:42", "base")]


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
