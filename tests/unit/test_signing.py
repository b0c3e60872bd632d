"""A signing command is given the pull spec by digest, and what it says is told where it does not sign."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from pydantic import ValidationError
from support.slowness import within

from rebuilder.config.registry import RegistrySettings
from rebuilder.domain.errors import InfrastructureError
from rebuilder.registry.signing import sign

AT = f"registry.example.com/team/app@sha256:{'a' * 64}"


def test_the_pull_spec_by_digest_takes_the_place_of_ref(tmp_path: Path) -> None:
    sign(["sh", "-c", 'echo "$1" >> "$2"', "sign", "docker://{ref}", str(tmp_path / "signed")], AT, 10)
    assert (tmp_path / "signed").read_text() == f"docker://{AT}\n"


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["sh", "-c", "echo begun; echo no such key >&2; exit 3", "{ref}"], "sh exited with status 3: no such key"),
        (["sh", "-c", "exit 1", "{ref}"], "sh exited with status 1"),
        (["/none/cosign", "sign", "{ref}"], "/none/cosign: No such file or directory"),
    ],
)
def test_one_that_fails_is_told_with_its_last_words(command: list[str], told: str) -> None:
    with pytest.raises(InfrastructureError) as error:
        sign(command, AT, 10)
    assert str(error.value) == f"{AT} cannot be signed, so no tag moves to it: {told}"


def test_one_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(InfrastructureError, match=r"did not end within 0\.5 s"):
        sign(["sh", "-c", f"(sleep 2; touch {tmp_path}/late) & wait", "{ref}"], AT, 0.5)
    assert time.monotonic() - began < within(2)
    time.sleep(2)
    assert not (tmp_path / "late").exists()


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({"sign": ["cosign", "sign"]}, "must have {ref}"),
        ({"sign": ["{ref}"]}, "must have {ref}"),
        ({"sign": ["cosign", "sign", "{ref}"], "tags": ["{stream}"]}, "need a tag that never moves"),
        ({"sbom": True, "tags": ["{stream}"]}, "need a tag that never moves"),
        ({"sbom": "swid"}, "cyclonedx"),
    ],
)
def test_what_could_not_work_is_refused_at_once(written: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        RegistrySettings.model_validate(written)


def test_true_is_cyclonedx() -> None:
    assert [RegistrySettings.model_validate({"sbom": told}).sbom for told in (True, False, "spdx")] == [
        "cyclonedx", "", "spdx",
    ]  # fmt: skip
