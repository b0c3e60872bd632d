"""Which images stand on a build that was taken back."""

from __future__ import annotations

import pytest

from rebuilder.domain.image import Image, ImageBuild, Parent, ParentKind
from rebuilder.domain.rollback import RolledBack, is_newer, rolled_back

BASE = Image("base", "f42")
APP = Image("app", "f42", (Parent(ParentKind.BASE, BASE.key),))


def found(base: str, stands_on: str) -> list[RolledBack]:
    builds = {BASE.key: ImageBuild(BASE.key, base), APP.key: ImageBuild(APP.key, "app-1-1", None, (stands_on,))}
    return rolled_back([BASE, APP], builds)


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


def test_without_a_build_nothing_is_known() -> None:
    assert rolled_back([BASE, APP], {}) == []
    assert rolled_back([BASE, APP], {APP.key: ImageBuild(APP.key, "app-1-1", None, ("base-42-1",))}) == []


@pytest.mark.parametrize(("nvr", "than", "newer"), [
    ("base-rawhide-10", "base-rawhide-9", True),
    ("base-42-1", "base-42-1", False),
    ("base", "base-42-1", False),
    ("a-b-1-2", "a-b-1-1", True),
])  # fmt: skip
def test_a_container_s_version_need_not_have_a_digit(nvr: str, than: str, newer: bool) -> None:
    assert is_newer(nvr, than) is newer
