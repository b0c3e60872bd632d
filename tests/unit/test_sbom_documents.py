"""Bills of materials are valid by their formats' own schemas, name each RPM as scanners do, and are always the same."""

from __future__ import annotations

import builtins
import json
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packageurl import PackageURL
from spdx_tools.spdx.parser.jsonlikedict.json_like_dict_parser import JsonLikeDictParser
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import Manifest
from rebuilder.domain.rpm import Rpm
from rebuilder.sbom.contents import Contents, purl_of
from rebuilder.sbom.documents import Format, document

DIGEST = f"sha256:{'a' * 64}"
OPENSSL = Rpm.parse("openssl-libs-1:3.2.1-1.fc42.x86_64", "openssl-3.2.1-1.fc42.src.rpm")
LIBSTDCXX = Rpm.parse("libstdc++-15.1.1-2.fc42.aarch64", "gcc-15.1.1-2.fc42.src.rpm")
KEY = Rpm.parse("gpg-pubkey-105ef944-65ca83d1.noarch")


def contents(*rpms: Rpm, digest: str = DIGEST) -> Contents:
    return Contents("web:f42", "0123abcd", digest, Manifest.of(rpms), 1764345600.7)


words = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+]{0,8}", fullmatch=True)
versions = st.from_regex(r"[0-9][A-Za-z0-9._+~^]{0,8}", fullmatch=True)
rpms = st.builds(
    Rpm, words, st.integers(0, 9), versions, versions.map(lambda text: f"{text}.fc42"),
    st.sampled_from(["noarch", "x86_64", "aarch64"]), words, st.sampled_from(["", "1.2-3.fc42"]),
)  # fmt: skip
several = given(st.frozensets(rpms, max_size=6))
few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@few
@several
def test_what_cyclonedx_says_is_valid_and_names_every_rpm(found: frozenset[Rpm]) -> None:
    text = document(contents(*found), Format.CYCLONEDX)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    told = json.loads(text)
    assert sorted(item["purl"] for item in told.get("components", ())) == sorted(map(purl_of, found))
    root = next(item for item in told["dependencies"] if item["ref"] == "image")
    assert sorted(root.get("dependsOn", ())) == sorted(map(purl_of, found))


def test_a_moment_that_is_none_is_seen_in_what_cyclonedx_says() -> None:
    told = json.loads(document(contents(), Format.CYCLONEDX))
    told["metadata"]["timestamp"] = "yesterday"
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(told)) is not None


@few
@several
def test_what_spdx_says_is_valid_and_names_every_rpm(found: frozenset[Rpm]) -> None:
    told = json.loads(document(contents(*found), Format.SPDX))
    assert not validate_full_spdx_document(JsonLikeDictParser().parse(told), "SPDX-2.3")
    assert sorted(purls_of_spdx(told)) == sorted(["pkg:oci/web@sha256:" + "a" * 64, *map(purl_of, found)])
    contained = [one for one in told["relationships"] if one["relationshipType"] == "CONTAINS"]
    assert len(contained) == len(found)


def purls_of_spdx(told: dict[str, Any]) -> list[str]:
    return [ref["referenceLocator"] for package in told["packages"] for ref in package.get("externalRefs", ())]


@few
@given(rpms)
def test_a_package_url_says_what_the_rpm_is(rpm: Rpm) -> None:
    found = PackageURL.from_string(purl_of(rpm))
    assert (found.type, found.namespace, found.name) == ("rpm", "fedora", rpm.name)
    assert found.version == rpm.evr.version_release
    told = dict(found.qualifiers)
    assert (told["arch"], told.get("epoch", "0"), told["distro"]) == (rpm.arch, str(rpm.epoch), "fedora-42")
    assert told.get("upstream", "") == (f"{rpm.source}-{rpm.source_evr}.src.rpm" if rpm.source_evr else "")


def test_package_urls_are_written_as_scanners_write_them() -> None:
    assert purl_of(OPENSSL) == (
        "pkg:rpm/fedora/openssl-libs@3.2.1-1.fc42"
        "?arch=x86_64&distro=fedora-42&epoch=1&upstream=openssl-3.2.1-1.fc42.src.rpm"
    )
    assert purl_of(Rpm.parse("bash-5.1-1.el9.noarch")) == "pkg:rpm/bash@5.1-1.el9?arch=noarch"


@pytest.mark.parametrize("form", list(Format))
def test_the_same_contents_make_the_same_document_in_whatever_order(form: Format) -> None:
    text = document(contents(OPENSSL, LIBSTDCXX), form)
    assert document(contents(LIBSTDCXX, OPENSSL), form) == text
    assert document(contents(OPENSSL), form) != text


@pytest.mark.parametrize("form", list(Format))
def test_the_image_is_named_by_its_digest_and_keys_are_no_software(form: Format) -> None:
    text = document(contents(OPENSSL, KEY), form)
    assert f"pkg:oci/web@{DIGEST}" in text
    assert "gpg-pubkey" not in text
    assert "2025-11-28T16:00:00" in text
    assert "pkg:oci" not in document(contents(OPENSSL, digest=""), form)


@pytest.mark.parametrize("form", list(Format))
def test_without_the_extra_it_says_what_to_install(form: Format, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def hidden(name: str, *arguments: Any) -> object:
        if name in ("rebuilder.sbom", "rebuilder.sbom.cyclonedx", "rebuilder.sbom.spdx"):
            raise ModuleNotFoundError("No module named 'packageurl'", name="packageurl")
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", hidden)
    with pytest.raises(RequestError, match=r"needs packageurl: pip install 'container-rebuilder\[sbom\]'"):
        document(contents(OPENSSL), form)
