"""Which images stand on a build that was taken back."""

from __future__ import annotations

import pytest

from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import Image, ImageBuild, Parent, ParentKind
from rebuilder.domain.rollback import PastBuild, RolledBack, is_newer, meant_build, rolled_back, standing_on

BASE = Image("base", "f42")
APP = Image("app", "f42", (Parent(ParentKind.BASE, BASE.key),))


def found(base: str, stands_on: str, by_nvr: bool = True) -> list[RolledBack]:
    builds = {BASE.key: ImageBuild(BASE.key, base), APP.key: ImageBuild(APP.key, "app-1-1", None, (stands_on,))}
    return rolled_back([BASE, APP], builds, {}, by_nvr=by_nvr)


def test_a_child_of_a_newer_build_than_the_current_one_stands_on_a_rollback() -> None:
    assert found("base-42-9", "base-42-10") == [RolledBack(APP.key, BASE.key, "base-42-10", "base-42-9")]


@pytest.mark.parametrize(("base", "stands_on"), [
    ("base-42-2", "base-42-2"),
    ("base-42-2", "base-42-1"),  # just not rebuilt yet
    ("base-42-1", "other-42-2"),
    ("sha256:1", "sha256:2"),  # nothing tells which of the two is newer
])  # fmt: skip
def test_any_other_child_does_not(base: str, stands_on: str) -> None:
    assert found(base, stands_on) == []


def test_names_that_are_no_nvrs_tell_nothing_even_where_they_look_like_some() -> None:
    assert found("simulated-base-f42-6ffd42bc19ee.1", "simulated-base-f42-101886c42128.1", by_nvr=False) == []


def test_without_a_build_nothing_is_known() -> None:
    assert rolled_back([BASE, APP], {}, {}, by_nvr=True) == []
    alone = {APP.key: ImageBuild(APP.key, "app-1-1", None, ("base-42-1",))}
    assert rolled_back([BASE, APP], alone, {}, by_nvr=True) == []


def test_a_child_of_a_build_that_an_operator_took_back_stands_on_it_whatever_it_is_called() -> None:
    builds = {BASE.key: ImageBuild(BASE.key, "sha256:1"), APP.key: ImageBuild(APP.key, "app", None, ("sha256:2",))}
    (told,) = rolled_back([BASE, APP], builds, {BASE.key: {"sha256:2"}}, by_nvr=False)
    assert (told.built_on, told.current) == ("sha256:2", "sha256:1")


def past(name: str, ident: str, *parents: str, tags: tuple[str, ...] = ()) -> PastBuild:
    return PastBuild(f"{name}:f42", 1, 1, ident, "", f"sha256:{ident}", tags, parents)


def test_what_stands_on_a_bad_build_is_found_through_all_layers() -> None:
    bad = past("base", "bad")
    builds = [bad, past("web", "w", "mid"), past("mid", "mid", "bad", "other"), past("free", "f", "good")]
    found = standing_on(bad, {build.image: build for build in builds})
    assert [build.image for build in found] == ["mid:f42", "web:f42"]


@pytest.mark.parametrize("text", ["0123456789", "012345", "sha256:0123456789", "r.example.com/base:f42-1", "f42-1",
                                  "r.example.com/base@sha256:0123456789"])  # fmt: skip
def test_a_build_may_be_named_by_all_that_it_is_called(text: str) -> None:
    wanted = past("base", "0123456789", tags=("r.example.com/base:f42-1",))
    assert meant_build("base:f42", text, [past("base", "other1"), wanted]) == [wanted]


def test_a_build_that_is_named_wrongly_is_told_with_those_that_there_are() -> None:
    with pytest.raises(RequestError, match="no earlier good build 01234; there are: other1, 0123456789"):
        meant_build("base:f42", "01234", [past("base", "other1"), past("base", "0123456789")])


@pytest.mark.parametrize(("nvr", "than", "newer"), [
    ("base-rawhide-10", "base-rawhide-9", True),
    ("base-42-1", "base-42-1", False),
    ("base", "base-42-1", False),
    ("a-b-1-2", "a-b-1-1", True),
])  # fmt: skip
def test_a_container_s_version_need_not_have_a_digit(nvr: str, than: str, newer: bool) -> None:
    assert is_newer(nvr, than) is newer
