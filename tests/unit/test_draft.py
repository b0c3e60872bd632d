"""What people ask plans for."""

from __future__ import annotations

import pytest

from rebuilder.domain.errors import RequestError
from rebuilder.engine.plan_preview import build_named, builds_named


@pytest.mark.parametrize("text", [
    "openssl-3.2.1-1.fc42", "openssl-3.2.1-1.fc42.src.rpm", "openssl-3.2.1-1.fc42.src", "openssl-3.2.1-1.fc42.x86_64",
    "openssl-3.2.1-1.fc42.noarch.rpm", " openssl-3.2.1-1.fc42 ",
])  # fmt: skip
def test_a_build_may_be_named_as_an_rpm_file_is(text: str) -> None:
    assert str(build_named(text)) == "openssl-3.2.1-1.fc42"


class Few:
    """Three images that carry openssl's libraries, and nothing else."""

    def sources_of(self, name: str) -> set[str]:
        return {"openssl"} if name in ("openssl", "openssl-libs") else set()

    def carriers(self, rpm: str) -> dict[str, int]:
        return {"openssl": 3} if rpm == "openssl-libs" else {}

    def sources(self) -> set[str]:
        return {"openssl"}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("openssl-libs-3.2.6-2.fc42",
         "3 images carry the RPM openssl-libs; its source is openssl: did you mean openssl-3.2.6-2.fc42?"),
        ("opensl-3.2.6-2.fc42", "no image carries RPMs of opensl: did you mean openssl-3.2.6-2.fc42?"),
        ("zsh-5.9-1.fc42", "no image carries RPMs of zsh"),
    ],
)  # fmt: skip
def test_who_asks_for_a_package_that_no_image_carries_is_told_what_may_be_meant(wrong: str, told: str) -> None:
    with pytest.raises(RequestError) as error:
        builds_named(["openssl-3.2.6-2.fc42", wrong], Few())
    assert str(error.value) == told


def test_a_source_package_that_images_carry_is_taken_as_it_is() -> None:
    assert [build.name for build in builds_named(["openssl-3.2.6-2.fc42"], Few())] == ["openssl"]
