"""A bill of materials is attached to an image of a real registry once, and found where readers look for it."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace
from support import registries
from support.registries import Registry, layer

from rebuilder.domain.image import Manifest
from rebuilder.domain.rpm import Rpm
from rebuilder.registry import skopeo
from rebuilder.registry.document import parse
from rebuilder.registry.errors import ContentsError, RegistryError
from rebuilder.registry.reader import RegistryReader
from rebuilder.registry.referrers import Attachment, attach
from rebuilder.sbom.contents import Contents
from rebuilder.sbom.documents import Format, document

pytestmark = pytest.mark.usefixtures("without_tls")
RPM = Rpm.parse("openssl-libs-1:3.2.1-1.fc42.x86_64", "openssl-3.2.1-1.fc42.src.rpm")


def attachment(form: Format, digest: str) -> Attachment:
    contents = Contents("app:f42", "0123abcd", digest, Manifest.of([RPM]), 1764345600.0)
    return Attachment(document(contents, form).encode(), form.media_type, {"rebuilder.key": "app-1"})


def image(registry: Registry, name: str) -> tuple[str, str]:
    """An image without an RPM database: its pull spec by digest, and the digest."""
    digest = registry.push(f"{name}:42", [layer({f"{name}/run": b"#!/bin/sh\n"})])
    return f"{registry.host}/{name}@{digest}", digest


@pytest.mark.parametrize("form", list(Format))
def test_it_says_what_is_in_an_image_without_a_database(
    registry: Registry, reader: RegistryReader, form: Format
) -> None:
    at, digest = image(registry, f"plain-{form}")
    attached = attach(at, attachment(form, digest), 20)
    found = reader.contents(reader.resolve(at.partition("@")[0] + ":42"), "linux/amd64")
    assert (found.rpms, found.origin) == ((RPM,), "sbom")
    place = at.partition("@")[0]
    manifest = json.loads(skopeo.raw_manifest(f"{place}@{attached}", 20))
    raw = skopeo.raw_manifest(at, 20)
    assert manifest["subject"] == {"mediaType": registries.MANIFEST, "digest": digest, "size": len(raw)}
    assert (manifest["artifactType"], manifest["annotations"]) == (form.media_type, {"rebuilder.key": "app-1"})
    (listed,) = json.loads(skopeo.raw_manifest(f"{place}:{digest.replace(':', '-')}", 20))["manifests"]
    assert (listed["digest"], listed["artifactType"]) == (attached, form.media_type)


def test_the_same_one_is_attached_once_and_another_one_stays_beside_it(registry: Registry) -> None:
    at, digest = image(registry, "twice")
    first = attach(at, attachment(Format.SPDX, digest), 20)
    second = attach(at, attachment(Format.CYCLONEDX, digest), 20)
    assert attach(at, attachment(Format.SPDX, digest), 20) == first
    index = parse(skopeo.raw_manifest(f"{at.partition('@')[0]}:{digest.replace(':', '-')}", 20), at)
    assert [blob.digest for blob in index.manifests] == [first, second]
    assert parse(skopeo.raw_manifest(f"{at.partition('@')[0]}:42", 20), at).digest == digest


def test_an_image_that_is_not_there_has_nothing_attached(registry: Registry) -> None:
    at, digest = image(registry, "there")
    gone = at.replace(digest, f"sha256:{'0' * 64}")
    with pytest.raises(RegistryError, match="no such image"):
        attach(gone, attachment(Format.SPDX, digest), 20)


def test_a_tag_of_referrers_that_is_something_else_stays_as_it_is(registry: Registry) -> None:
    at, digest = image(registry, "odd")
    theirs = registry.push(f"odd:{digest.replace(':', '-')}", [layer({"x": b"1"})])
    with pytest.raises(ContentsError, match="is not a list of referrers"):
        attach(at, attachment(Format.SPDX, digest), 20)
    assert parse(skopeo.raw_manifest(f"{registry.host}/odd:{digest.replace(':', '-')}", 20), at).digest == theirs


def test_documents_differ_where_the_image_does(registry: Registry) -> None:
    at, digest = image(registry, "other")
    one = attachment(Format.SPDX, digest)
    assert attach(at, one, 20) != attach(at, replace(one, annotations={}), 20)
