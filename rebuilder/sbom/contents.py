"""What a bill of materials is made of: one build of an image, and the RPMs in it, under names that others know."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from functools import cached_property

from msgspec import Struct

from rebuilder.domain.image import Manifest, dist_of
from rebuilder.domain.image_name import name_of
from rebuilder.domain.rpm import Rpm

TOOL = "rebuilder"
KEY = "gpg-pubkey"  # keys that RPM trusts are in its database, and no software
FEDORA = ".fc"


class Contents(Struct, frozen=True, dict=True):
    """A build of an image (`name:stream`). `digest` is that in a registry, "" where it is in none.

    `recorded` is when its RPMs were read, in seconds since the epoch. The same contents make the same documents.
    """

    image: str
    ident: str
    digest: str
    manifest: Manifest
    recorded: float

    @cached_property
    def rpms(self) -> tuple[Rpm, ...]:
        """The RPMs, in the order of their names."""
        return tuple(sorted((rpm for rpm in self.manifest.rpms if rpm.name != KEY), key=lambda rpm: rpm.nevra))

    @property
    def name(self) -> str:
        """The image's name without its stream."""
        return name_of(self.image)

    @property
    def version(self) -> str:
        """What tells this build from others: its digest, else its NVR or image id."""
        return self.digest or self.ident

    @property
    def made(self) -> datetime:
        """When the build was recorded, to the second."""
        return datetime.fromtimestamp(int(self.recorded), UTC)

    def serial(self, kind: str) -> uuid.UUID:
        """The document's own number: the same for the same contents in a format."""
        name = f"{kind} {self.image} {self.version} {self.manifest.digest} {int(self.recorded)}"
        return uuid.uuid5(uuid.NAMESPACE_URL, name)

    @cached_property
    def purl(self) -> str:
        """The package URL of the image; "" where it is in no registry, as only a digest names an image for ever."""
        from packageurl import PackageURL

        return PackageURL("oci", None, self.name, self.digest).to_string() if self.digest else ""


def purl_of(rpm: Rpm) -> str:
    """The RPM's package URL, with the source RPM as scanners have it (`upstream`)."""
    from packageurl import PackageURL

    dist = dist_of(rpm.release)
    fedora = dist.startswith(FEDORA)
    qualifiers = {
        "arch": rpm.arch,
        "epoch": str(rpm.epoch or ""),
        "upstream": rpm.sourcerpm if rpm.source_evr else "",
        "distro": f"fedora-{dist.removeprefix(FEDORA)}" if fedora else "",
    }
    said = {name: value for name, value in qualifiers.items() if value}
    version = rpm.evr.version_release
    return PackageURL("rpm", "fedora" if fedora else None, rpm.name, version, said).to_string()
