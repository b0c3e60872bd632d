"""Which build of an image is the current one, and what a tag offers."""

from __future__ import annotations

import pytest
from integration import koji_images
from integration.koji_images import SSL, TAG, build, image, known, parents, read, settings
from support import koji_hub

from rebuilder.inventory.koji import tag_builds
from rebuilder.inventory.koji.images import Known
from rebuilder.inventory.koji.session import KojiSession

running = koji_images.running


def test_the_newest_of_all_tags_of_a_stream_is_taken_and_streams_are_apart(running: koji_hub.Hub) -> None:
    running.koji.image("base-42-9", "f42-updates", [SSL])
    running.koji.image("base-41-1", "f41-images", [SSL], stream="f41")
    running.koji.image("httpd-2.4-8", "f41-images", [], {"reg/f41/base:latest": "base-41-1"}, "base-41-1", "f41")
    streams = {"f42": {"koji_tags": [TAG, "f42-updates"]}, "f41": {"koji_tags": ["f41-images"], "git_branch": "old"}}
    found = read(running, streams=streams)
    assert build(found, "base:f42").ident == "base-42-9"
    assert build(found, "base:f41").ident == "base-41-1"
    assert parents(found, "httpd:f41") == [("base:f41", "base")]


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
