"""Bills of materials that are attached to images of a real registry, in each of the ways that tools attach them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from support import registries
from support.registries import Registry, contents, layer, named, rpms_of, with_rpms

from rebuilder.demo.process import LOOPBACK
from rebuilder.registry.reader import RegistryReader

pytestmark = pytest.mark.usefixtures("without_tls")
HERE = "linux/amd64"
OLD = "openssl-3.2.1-1.fc42"
APP = layer({"app/run": b"#!/bin/sh\n"})
PURLS = (
    "pkg:rpm/fedora/openssl-libs@3.2.1-1.fc42?arch=x86_64&epoch=1&upstream=openssl-3.2.1-1.fc42.src.rpm",
    "pkg:rpm/fedora/libstdc%2B%2B@15.1.1-2.fc42?arch=x86_64&upstream=gcc-15.1.1-2.fc42.src.rpm",
    "pkg:rpm/fedora/gpg-pubkey@105ef944-65ca83d1",
    "pkg:pypi/requests@2.32.0",
)
SPDX = {"spdxVersion": "SPDX-2.3", "packages": [
    {"name": "x", "externalRefs": [{"referenceType": "purl", "referenceLocator": purl}]} for purl in PURLS]}
CYCLONEDX = {"bomFormat": "CycloneDX", "components": [
    {"name": "os", "components": [{"purl": purl} for purl in PURLS[:2]]}, {"purl": PURLS[3]}, {"name": "no purl"}]}
LISTED = {"openssl-libs-1:3.2.1-1.fc42.x86_64", "libstdc++-15.1.1-2.fc42.x86_64"}


def statement(document: object) -> dict[str, object]:
    return {"_type": "https://in-toto.io/Statement/v0.1", "predicateType": "https://spdx.dev/Document",
            "predicate": document}  # fmt: skip


def envelope(document: object) -> dict[str, object]:
    payload = base64.b64encode(json.dumps(statement(document)).encode()).decode()
    return {"payloadType": "application/vnd.in-toto+json", "payload": payload, "signatures": []}


def attach(registry: Registry, repository: str, tag: str, document: object, kind: str, **annotations: str) -> str:
    """Push an artifact with one blob; its digest."""
    data, config = json.dumps(document).encode(), b"{}"
    return registry.put(repository, tag, {
        "schemaVersion": 2, "mediaType": registries.MANIFEST,
        "config": {"mediaType": f"{registries.OCI}.config.v1+json", "size": len(config),
                   "digest": registry.blob(repository, config)},
        "layers": [{"mediaType": kind, "size": len(data), "digest": registry.blob(repository, data),
                    "annotations": annotations}],
    })  # fmt: skip


@pytest.mark.parametrize(("suffix", "document", "kind"), [
    ("sbom", SPDX, "text/spdx+json"),
    ("sbom", CYCLONEDX, "application/vnd.cyclonedx+json"),
    ("att", envelope(SPDX), "application/vnd.dsse.envelope.v1+json"),
    ("att", envelope({"Data": json.dumps(CYCLONEDX)}), "application/vnd.dsse.envelope.v1+json"),
])  # fmt: skip
def test_an_sbom_under_cosign_s_tags_says_what_is_in_an_image_without_a_database(
    reader: RegistryReader, registry: Registry, suffix: str, document: object, kind: str, request: pytest.FixtureRequest
) -> None:
    name = f"cosign{abs(hash(request.node.name)) % 10**9}"
    digest = registry.push(f"{name}:42", [APP])
    attach(registry, name, f"{digest.replace(':', '-')}.{suffix}", document, kind)
    found = contents(reader, registry, f"{name}:42")
    assert (found.origin, named(found.rpms or ())) == ("sbom", LISTED)
    assert {rpm.source for rpm in found.rpms or ()} == {"openssl", "gcc"}


def test_an_sbom_that_the_tag_of_the_referrers_names_is_read(reader: RegistryReader, registry: Registry) -> None:
    digest = registry.push("referred:42", [APP])
    kind = "application/spdx+json"
    sbom = attach(registry, "referred", "", SPDX, kind)
    registry.put("referred", digest.replace(":", "-"), {
        "schemaVersion": 2, "mediaType": registries.INDEX,
        "manifests": [{"mediaType": registries.MANIFEST, "artifactType": kind, "digest": sbom,
                       "size": registry.size("referred", sbom)}],
    })  # fmt: skip
    found = contents(reader, registry, "referred:42")
    assert (found.origin, named(found.rpms or ())) == ("sbom", LISTED)


def test_an_sbom_that_the_registry_itself_lists_is_read(
    reader: RegistryReader, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, kind = registry.push("api:42", [APP]), "application/vnd.cyclonedx+json"
    sbom = attach(registry, "api", "", CYCLONEDX, kind)
    listed = {"schemaVersion": 2, "mediaType": registries.INDEX, "manifests": [
        {"mediaType": registries.MANIFEST, "artifactType": kind, "digest": sbom, "size": registry.size("api", sbom)}]}
    with front(registry, f"/v2/api/referrers/{digest}", json.dumps(listed).encode()) as host:
        monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(registries.insecure(tmp_path, host)))
        found = reader.contents(reader.resolve(f"{host}/api:42"), HERE)
    assert (found.origin, named(found.rpms or ())) == ("sbom", LISTED)


@contextmanager
def front(registry: Registry, path: str, answer: bytes) -> Iterator[str]:
    """The real registry behind a server that has one answer of its own: Debian's has no API of referrers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with registry.client() as client:
                accepted = {"accept": self.headers.get("accept", "*/*")}
                theirs = client.get(self.path.removeprefix("/v2/"), headers=accepted)
            ours = self.path == path
            self.send_response(200 if ours else theirs.status_code)
            body = answer if ours else theirs.content
            kind = registries.INDEX if ours else theirs.headers.get("content-type", "text/plain")
            for name, value in (("content-type", kind), ("content-length", str(len(body)))):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer((LOOPBACK, 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"{LOOPBACK}:{server.server_port}"
        server.shutdown()


def test_an_attestation_beside_the_platforms_as_buildkit_has_it_is_read(
    reader: RegistryReader, registry: Registry
) -> None:
    digest = registry.push("kit:a", [APP])
    attested = attach(registry, "kit", "", statement(SPDX), "application/vnd.in-toto+json",
                      **{"in-toto.io/predicate-type": "https://spdx.dev/Document"})
    entries = [(digest, {"os": "linux", "architecture": "amd64"}, {}),
               (attested, {"os": "unknown", "architecture": "unknown"},
                {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": digest})]
    registry.put("kit", "42", {
        "schemaVersion": 2, "mediaType": registries.INDEX,
        "manifests": [{"mediaType": registries.MANIFEST, "digest": at, "size": registry.size("kit", at),
                       "platform": platform, "annotations": annotations} for at, platform, annotations in entries],
    })  # fmt: skip
    found = contents(reader, registry, "kit:42")
    assert (found.origin, named(found.rpms or ())) == ("sbom", LISTED)


def test_an_rpm_database_counts_more_than_an_sbom_and_a_broken_sbom_is_unknown(
    reader: RegistryReader, registry: Registry
) -> None:
    digest = registry.push("both:42", [with_rpms(OLD)])
    attach(registry, "both", f"{digest.replace(':', '-')}.sbom", SPDX, "text/spdx+json")
    assert rpms_of(reader, registry, "both:42") == {f"{OLD}.noarch"}
    digest = registry.push("senseless:42", [APP])
    tag = f"{digest.replace(':', '-')}.sbom"
    attach(registry, "senseless", tag, {"spdxVersion": 2, "packages": 7}, "text/spdx+json")
    assert contents(reader, registry, "senseless:42").rpms is None
