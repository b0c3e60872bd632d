"""Bills of materials that are attached to images: the RPMs that SPDX and CycloneDX documents name."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from itertools import chain
from typing import Any
from urllib.parse import parse_qsl, unquote

from rebuilder.domain.rpm import Rpm
from rebuilder.registry import referrers, skopeo
from rebuilder.registry.blob_source import BlobSource
from rebuilder.registry.document import Blob, Document, RemoteImage, parse
from rebuilder.registry.errors import Cause, ContentsError, RegistryError
from rebuilder.registry.pull_spec import at_digest, repository

PREDICATE = "in-toto.io/predicate-type"
KINDS = ("spdx", "cyclonedx", "dsse", "in-toto")  # parts of the media types and predicate types that are looked at


def find(image: RemoteImage, digest: str, blobs: BlobSource, seconds: float) -> tuple[Rpm, ...] | None:
    """The RPMs that the first document attached to the image of this digest names; None where there is none.

    Looked for where BuildKit puts them (an attestation in the list of platforms), in the registry's own list of
    referrers, under the tag that stands for that (`sha256-…`), and under cosign's tags (`….sbom`, `….att`). Raises
    RegistryError.
    """
    documents = _attached(image, digest, seconds)
    candidates = (blob for document in documents for blob in document.layers if _may_be_sbom(blob, document))
    return next((rpms for blob in candidates if (rpms := _rpms(blobs.read(blob), image.name)) is not None), None)


def _may_be_sbom(blob: Blob, document: Document) -> bool:
    kind = f"{blob.media_type} {blob.annotations.get(PREDICATE, '')} {document.artifact_type}".lower()
    return any(word in kind for word in KINDS)


def _attached(image: RemoteImage, digest: str, seconds: float) -> Iterator[Document]:
    attestation = image.document.attestations.get(digest)
    if attestation:
        yield from _document(at_digest(image.name, attestation), seconds)
    tag = f"{repository(image.name)}:{digest.replace(':', '-')}"
    here = referrers.listed(at_digest(image.name, digest), seconds)
    for index in chain([here] if here else (), _document(tag, seconds)):
        for blob in filter(_describes, index.manifests):
            yield from _document(at_digest(image.name, blob.digest), seconds)
    for suffix in ("sbom", "att"):
        yield from _document(f"{tag}.{suffix}", seconds)


def _describes(blob: Blob) -> bool:
    return any(word in blob.media_type.lower() for word in KINDS)


def _document(name: str, seconds: float) -> Iterator[Document]:
    try:
        yield parse(skopeo.raw_manifest(name, seconds), name)
    except RegistryError as error:
        if error.cause is not Cause.MISSING:
            raise


def _rpms(raw: bytes, of: str) -> tuple[Rpm, ...] | None:
    """The RPMs of a document, which may be in an attestation and its envelope; None where it is not ours."""
    try:
        document = json.loads(raw)
        if "payload" in document:
            document = json.loads(base64.b64decode(document["payload"]))
        document = document.get("predicate", document)
        if isinstance(document.get("Data"), str):  # cosign's older way
            document = json.loads(document["Data"])
        if not ({"components", "bomFormat", "spdxVersion", "packages"} & document.keys()):
            return None
        return tuple(sorted({rpm for purl in _purls(document) if (rpm := _rpm(purl))}, key=str))
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ContentsError(f"the SBOM of {of} cannot be read: {error}") from None


def _purls(document: dict[str, Any]) -> Iterator[str]:
    for component in document.get("components") or ():  # CycloneDX; components may have components
        yield str(component.get("purl") or "")
        yield from _purls(component)
    for package in document.get("packages") or ():  # SPDX
        for reference in package.get("externalRefs") or ():
            if reference.get("referenceType") == "purl":
                yield str(reference["referenceLocator"])


def _rpm(purl: str) -> Rpm | None:
    """`pkg:rpm/fedora/openssl-libs@3.2.1-1.fc42?arch=x86_64&epoch=1&upstream=openssl-3.2.1-1.fc42.src.rpm`."""
    if not purl.startswith("pkg:rpm/"):
        return None
    path, _, query = purl.partition("#")[0].partition("?")
    place, _, version = path.rpartition("@")
    said = dict(parse_qsl(query))
    name, epoch = unquote(place.rpartition("/")[2]), said.get("epoch", "0")
    if name == "gpg-pubkey":
        return None
    source = said.get("upstream", "")
    arch = said.get("arch", "noarch")
    return Rpm.parse(f"{name}-{epoch}:{unquote(version)}.{arch}", source if source.endswith(".src.rpm") else "")
