"""What people ask plans for."""

from __future__ import annotations

import pytest

from rebuilder.domain.errors import RequestError
from rebuilder.engine.plan_preview import build_named, refuse_binary


@pytest.mark.parametrize("text", [
    "openssl-3.2.1-1.fc42", "openssl-3.2.1-1.fc42.src.rpm", "openssl-3.2.1-1.fc42.src", "openssl-3.2.1-1.fc42.x86_64",
    "openssl-3.2.1-1.fc42.noarch.rpm", " openssl-3.2.1-1.fc42 ",
])  # fmt: skip
def test_a_build_may_be_named_as_an_rpm_file_is(text: str) -> None:
    assert str(build_named(text)) == "openssl-3.2.1-1.fc42"


def test_who_asks_for_a_binary_package_is_told_its_source() -> None:
    with pytest.raises(RequestError, match="openssl-libs is an RPM that is made from openssl: give the source build"):
        refuse_binary("openssl-libs", {"openssl"})
    refuse_binary("openssl", {"openssl"})
    refuse_binary("bash", set())
