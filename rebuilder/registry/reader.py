"""The digests of images in registries, and the RPMs in them, read from as few layers as it takes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Self

from msgspec import Struct

from rebuilder.config import RegistrySettings, state_directory
from rebuilder.domain.image import Manifest
from rebuilder.domain.rpm import Rpm
from rebuilder.registry import description, sbom, skopeo
from rebuilder.registry.blob_source import BlobSource
from rebuilder.registry.description import Description
from rebuilder.registry.direct import Direct
from rebuilder.registry.document import Blob, Document, RemoteImage, parse
from rebuilder.registry.errors import Cause, ContentsError, RegistryError, registry_error
from rebuilder.registry.layer import Layer, read_layer
from rebuilder.registry.layer_cache import LayerCache
from rebuilder.registry.pull_spec import at_digest, candidates, is_remote, pinned
from rebuilder.registry.rpm_database import DATABASES

RPMDB, REMOVED = "rpmdb", "removed"  # where an image's contents are from, or why they are unknown


class Contents(Struct, frozen=True):
    """The RPMs of one image, by the digest of its own manifest; None where they are unknown. `origin` says how."""

    rpms: tuple[Rpm, ...] | None
    origin: str = RPMDB

    @property
    def manifest(self) -> Manifest | None:
        """The RPMs as a manifest; None where they are unknown."""
        return None if self.rpms is None else Manifest.of(self.rpms)


class RegistryReader:
    """Reads from registries, with what was read before in a folder of the state. May be used from several threads.

    Every method raises RegistryError where the registry is unreachable, and ContentsError for what makes no sense.
    """

    def __init__(self, settings: RegistrySettings, cache: Path | None = None) -> None:
        self._settings = settings
        self._cache = LayerCache(cache or state_directory() / "layers")
        self._folders = tuple(folder.strip("/") for folder in settings.rpmdb)
        self._direct = Direct(settings.call_seconds)
        self._rpms: dict[Rpm, Rpm] = {}  # images have most of them in common

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connections that are kept; all that is known stays."""
        self._direct.close()

    def resolve(self, spec: str, last: str = "") -> RemoteImage:
        """The digest of an image: one request for its manifest, or one for each registry that a short name may mean.

        Where it is the `last` one still, and its manifest was read before, a request for the digest alone is enough.
        """
        if not is_remote(spec):
            raise registry_error(spec, "it is in this machine's storage alone", Cause.MISSING)
        names = candidates(spec)
        return self._unmoved(spec, names, last) or self._taken(spec, names)

    def _unmoved(self, spec: str, names: Sequence[str], last: str) -> RemoteImage | None:
        """The image, where it is the `last` one; a short name may have come to mean another registry's."""
        if not last or pinned(spec) or len(names) != 1:
            return None
        document = self._cache.get(last, Document)
        if document is None or self._direct.digest(names[0]) != last:
            return None
        return RemoteImage(spec, names[0], last, document)

    def _taken(self, spec: str, names: Sequence[str]) -> RemoteImage:
        """The image with its manifest, from the first registry that has it."""
        missing: RegistryError | None = None
        for name in names:
            try:
                raw = skopeo.raw_manifest(name, self._settings.call_seconds)
            except RegistryError as error:
                if error.cause is not Cause.MISSING:
                    raise
                missing = missing or error
            else:
                document = parse(raw, name)
                self._cache.put(document.digest, document)
                return RemoteImage(spec, name, document.digest, document)
        raise missing or registry_error(spec, "no registry is named for it", Cause.OTHER)

    def contents(self, image: RemoteImage, platform: str) -> Contents:
        """The RPMs of the image for a platform (`os/architecture[/variant]`); unknown where it has no such platform.

        Nothing is asked for a digest that was read before; layers of it that other images have are not read again.
        """
        digest = image.document.for_platform(platform)
        if not digest:
            return Contents(None, "no such platform")
        contents = self._cache.get(digest, Contents)
        if contents is None:
            contents = self._read(image, digest)
            self._cache.put(digest, contents)
        return self._sharing(contents)

    def _sharing(self, contents: Contents) -> Contents:
        """The same, with the very RPMs that other images have."""
        if contents.rpms is None:
            return contents
        return Contents(tuple(self._rpms.setdefault(rpm, rpm) for rpm in contents.rpms), contents.origin)

    def describe(self, image: RemoteImage, platform: str) -> Description:
        """What the image says of itself, for a platform. Nothing is asked for a digest that was read before.

        Raises ContentsError, too, where it has no such platform.
        """
        digest = image.document.for_platform(platform)
        if not digest:
            raise ContentsError(f"{image.name} is not there for {platform}")
        described = self._cache.get(digest, Description)
        if described is None:
            at, document = at_digest(image.name, digest), self._document(image, digest)
            if document.config is None:
                raise ContentsError(f"{at} has no configuration: it is not an image")
            with BlobSource(at, self._settings.call_seconds) as blobs:
                described = description.parse(blobs.read(document.config), document.annotations, at)
            self._cache.put(digest, described)
        return described

    def described(self, digest: str) -> Description | None:
        """What an image of that digest said of itself, where it was read before. Asks no registry."""
        return self._cache.get(digest, Description)

    def _document(self, image: RemoteImage, digest: str) -> Document:
        """The manifest of one platform."""
        if digest == image.document.digest:
            return image.document
        at = at_digest(image.name, digest)
        return parse(skopeo.raw_manifest(at, self._settings.call_seconds), at)

    def _read(self, image: RemoteImage, digest: str) -> Contents:
        at, seconds = at_digest(image.name, digest), self._settings.call_seconds
        try:
            document = self._document(image, digest)
            with BlobSource(at, seconds) as blobs:
                contents = self._from_layers(document.layers, blobs, at)
                if contents is not None and contents.origin != REMOVED:
                    return contents
                described = sbom.find(image, digest, blobs, seconds)
        except ContentsError as error:
            return Contents(None, str(error))  # for this digest it will never be another
        return Contents(described, "sbom") if described is not None else contents or Contents((), "none")

    def _from_layers(self, layers: Sequence[Blob], blobs: BlobSource, of: str) -> Contents | None:
        """What the uppermost database says that no layer above it takes away; None where there is none."""
        hidden, opaque = set[str](), set[str]()
        removed = False
        for layer in self._downwards(layers, blobs, of):
            for folder in self._folders:
                if folder not in layer.databases:
                    continue
                if _covered(folder, hidden, opaque):
                    removed = True
                    continue
                read = layer.databases[folder]
                return Contents(None, read) if isinstance(read, str) else Contents(read)
            hidden |= layer.hidden
            opaque |= layer.opaque
        # Its RPMs are there all the same, and cannot be told apart any more.
        return Contents(None, REMOVED) if removed else None

    def _downwards(self, layers: Sequence[Blob], blobs: BlobSource, of: str) -> Iterator[Layer]:
        for blob in reversed(layers):
            layer = self._cache.get(blob.digest, Layer)
            if layer is None:
                layer = read_layer(partial(blobs.open, blob), self._folders, of, blob.size)
                self._cache.put(blob.digest, layer)
            yield layer


def _covered(folder: str, hidden: Collection[str], opaque: Collection[str]) -> bool:
    """Whether upper layers take away the database of the folder."""
    above = ["", *accumulate(folder.split("/"), "{}/{}".format)]
    files = (f"{folder}/{name}" for name in DATABASES)
    return any(path in hidden or path in opaque for path in above) or any(path in hidden for path in files)
