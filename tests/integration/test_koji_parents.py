"""The parents of images in Koji, from what atomic-reactor writes of them."""

from __future__ import annotations

import pytest
from integration import koji_images
from integration.koji_images import BASH, SSL, TAG, build, known, parents, read
from support import koji_hub

running = koji_images.running


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
