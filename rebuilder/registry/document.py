"""Manifests of images as registries have them: of Docker's schema 2, and of OCI; for one platform, or lists of them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from rebuilder.registry.errors import ContentsError

DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
REFERENCE_TYPE, REFERENCE = "vnd.docker.reference.type", "vnd.docker.reference.digest"


class Blob(Struct, frozen=True):
    """A blob that a manifest names: `size` in bytes."""

    digest: str
    size: int
    media_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)


class Document(Struct, frozen=True):
    """A manifest. One for a single platform has `layers`, the lowest first; a list has `platforms`.

    `platforms` has the manifest's digest by `os/architecture[/variant]`. `attestations` has the manifest that BuildKit
    attached to each of these.
    """

    digest: str
    layers: tuple[Blob, ...] = ()
    config: Blob | None = None
    platforms: Mapping[str, str] = field(default_factory=dict)
    attestations: Mapping[str, str] = field(default_factory=dict)
    manifests: tuple[Blob, ...] = ()
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)

    def for_platform(self, platform: str) -> str:
        """The digest of the platform's manifest: the variant counts where both name one. "" where there is none."""
        if not self.platforms and not self.manifests:
            return self.digest
        if platform in self.platforms:
            return self.platforms[platform]
        parts = _parts(platform)
        fitting = [d for name, d in self.platforms.items() if _fits(parts, _parts(name))]
        return fitting[0] if fitting else ""


class RemoteImage(Struct, frozen=True):
    """What a registry has under a pull spec at one moment: `name` is the full one, `digest` that of its manifest.

    Where that is a list, `document.platforms` has the digests of the platforms' own manifests.
    """

    spec: str
    name: str
    digest: str
    document: Document


def digest_of(data: bytes) -> str:
    """The digest by which a registry knows these bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def parse(raw: bytes, of: str) -> Document:
    """The manifest of these bytes, whose digest is theirs. Raises ContentsError for what is none."""
    digest = digest_of(raw)
    try:
        manifest = json.loads(raw)
        if "manifests" in manifest:
            return _index(digest, manifest)
        layers = tuple(_blob(layer) for layer in manifest.get("layers") or ())
        config = _blob(manifest["config"]) if manifest.get("config") else None
        if "layers" not in manifest and "config" not in manifest:
            raise ValueError(f"schema {manifest.get('schemaVersion')} is not supported")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ContentsError(f"the manifest of {of} cannot be read: {error}") from None
    kind = str(manifest.get("artifactType") or "")
    return Document(digest, layers, config, artifact_type=kind, annotations=_annotations(manifest))


def _index(digest: str, index: Mapping[str, Any]) -> Document:
    platforms: dict[str, str] = {}
    attestations: dict[str, str] = {}
    manifests: list[Blob] = []
    for item in index["manifests"]:
        blob, platform = _blob(item), item.get("platform") or {}
        manifests.append(blob)
        if blob.annotations.get(REFERENCE_TYPE) == "attestation-manifest":
            attestations[blob.annotations.get(REFERENCE, "")] = blob.digest
        elif platform.get("os") and platform.get("os") != "unknown":
            names = (platform["os"], platform.get("architecture", ""), platform.get("variant") or "")
            platforms.setdefault("/".join(filter(None, names)), blob.digest)
    return Document(digest, platforms=platforms, attestations=attestations, manifests=tuple(manifests))


def _blob(descriptor: Mapping[str, Any]) -> Blob:
    if not DIGEST.fullmatch(descriptor["digest"]):
        raise ValueError(f"not a digest: {descriptor['digest']!r}")
    media_type = str(descriptor.get("artifactType") or descriptor.get("mediaType") or "")
    return Blob(descriptor["digest"], int(descriptor["size"]), media_type, _annotations(descriptor))


def _annotations(document: Mapping[str, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in (document.get("annotations") or {}).items()}


def _parts(platform: str) -> tuple[str, str, str]:
    system, architecture, variant = (*platform.split("/", 2), "", "")[:3]
    return system, architecture, variant


def _fits(target: tuple[str, str, str], there: tuple[str, str, str]) -> bool:
    return target[:2] == there[:2] and (target[2] == there[2] or not (target[2] and there[2]))
