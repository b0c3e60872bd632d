"""Documents attached to images in registries: OCI's artifacts with a subject (distribution-spec 1.1, image-spec 1.1).

A registry that has the API of referrers says so when it takes the artifact. For another one the list of referrers is
kept under the tag `sha256-…` of the image, which readers look at there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
from msgspec import Struct

from rebuilder.registry.connection import Connection, connected
from rebuilder.registry.document import Document, digest_of, parse
from rebuilder.registry.errors import Cause, ContentsError, RegistryError, registry_error
from rebuilder.registry.pull_spec import pinned, repository

MANIFEST, INDEX = "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json"
SCHEMA2 = "application/vnd.docker.distribution.manifest.v2+json"
LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
EMPTY, NOTHING = "application/vnd.oci.empty.v1+json", b"{}"
ACCEPTED = {"accept": ", ".join((MANIFEST, INDEX, SCHEMA2, LIST))}
SUBJECT = "oci-subject"  # the header by which a registry says that it lists referrers itself


class Attachment(Struct, frozen=True):
    """A document to be attached, what it is, and annotations of it."""

    data: bytes
    media_type: str
    annotations: Mapping[str, str]


def attach(at: str, attachment: Attachment, seconds: float, auth_file: Path | None = None) -> str:
    """Attach a document to the image `at` (a pull spec by digest); the digest of its own manifest.

    The same one twice is attached once. Each answer may take so many seconds. Raises RegistryError, and ContentsError
    where the tag of the referrers is something else.
    """
    host, _, path = repository(at).partition("/")
    with connected(host, f"repository:{path}:pull,push", seconds, auth_file) as connection:
        return _Place(connection, path, at).attach(attachment)


def listed(at: str, seconds: float) -> Document | None:
    """What the registry itself lists as attached to the image `at`; None where it has no API for that.

    Mirrors and helpers for credentials are skopeo's alone: where we do not get in beside it, nothing is told of
    either. Raises RegistryError where the registry is busy or slow, and may know more later.
    """
    host, _, path = repository(at).partition("/")
    try:
        with connected(host, f"repository:{path}:pull", seconds) as connection:
            place = f"/v2/{path}/referrers/{at.partition('@')[2]}"
            answer = connection.ask("GET", place, headers={"accept": INDEX})
    except RegistryError as error:
        if error.cause in {Cause.BUSY, Cause.SLOW}:
            raise
        return None
    if answer.is_server_error:
        raise registry_error(at, f"status: {answer.status_code}", Cause.BUSY)
    try:
        return parse(answer.content, at) if answer.is_success else None
    except ContentsError:
        return None


class _Place:
    """The repository of the image."""

    def __init__(self, connection: Connection, path: str, at: str) -> None:
        self._connection, self._path, self._at = connection, f"/v2/{path}", at
        self._digest = pinned(at)

    def attach(self, attachment: Attachment) -> str:
        manifest = _written({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": attachment.media_type,
            "config": self._blob(NOTHING, EMPTY),
            "layers": [self._blob(attachment.data, attachment.media_type)],
            "subject": self._subject(),
            "annotations": dict(attachment.annotations),
        })
        digest = digest_of(manifest)
        answer = self._put(digest, manifest, MANIFEST)
        if SUBJECT not in answer.headers:
            described = {**_described(manifest, MANIFEST), "artifactType": attachment.media_type,
                         "annotations": dict(attachment.annotations)}  # fmt: skip
            self._list(described)
        return digest

    def _subject(self) -> dict[str, Any]:
        answer = self._ask("GET", f"manifests/{self._digest}", headers=ACCEPTED)
        return _described(answer.content, str(json.loads(answer.content).get("mediaType") or MANIFEST))

    def _list(self, described: dict[str, Any]) -> None:
        """Add it to the list of referrers, where it is not there yet."""
        tag = self._digest.replace(":", "-")
        answer = self._ask("GET", f"manifests/{tag}", headers=ACCEPTED, missing=True)
        nothing: dict[str, Any] = {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}
        index: dict[str, Any] = answer.json() if answer.is_success else nothing
        if index.get("mediaType") != INDEX:
            raise ContentsError(f"{repository(self._at)}:{tag} is not a list of referrers: it is left unchanged")
        if all(one.get("digest") != described["digest"] for one in index["manifests"]):
            self._put(tag, _written({**index, "manifests": [*index["manifests"], described]}), INDEX)

    def _blob(self, data: bytes, media_type: str) -> dict[str, Any]:
        digest = digest_of(data)
        if self._ask("HEAD", f"blobs/{digest}", missing=True).status_code == httpx.codes.NOT_FOUND:
            begun = self._ask("POST", "blobs/uploads/")
            there = httpx.URL(begun.headers["location"]).copy_add_param("digest", digest)
            self._said(self._connection.ask("PUT", str(there), content=data,
                                            headers={"content-type": "application/octet-stream"}))  # fmt: skip
        return _described(data, media_type)

    def _put(self, reference: str, manifest: bytes, media_type: str) -> httpx.Response:
        return self._ask("PUT", f"manifests/{reference}", content=manifest, headers={"content-type": media_type})

    def _ask(self, method: str, what: str, *, missing: bool = False, **more: Any) -> httpx.Response:
        answer = self._connection.ask(method, f"{self._path}/{what}", **more)
        return answer if missing and answer.status_code == httpx.codes.NOT_FOUND else self._said(answer)

    def _said(self, answer: httpx.Response) -> httpx.Response:
        """Raises RegistryError for an answer that is no success."""
        if not answer.is_success:
            raise registry_error(self._at, f"status: {answer.status_code}: {answer.text[:200]}")
        return answer


def _described(data: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


def _written(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()
