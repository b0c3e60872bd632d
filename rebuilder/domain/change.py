"""Changes that images should take up, and what messages on the bus tell of them."""

from __future__ import annotations

import re
from enum import StrEnum

from msgspec import Struct

from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import Stream
from rebuilder.domain.rpm import Rpm, SourceBuild, is_stale

CVE = re.compile(r"CVE-\d{4}-\d{4,19}", re.ASCII | re.IGNORECASE)
NO_CVE = "{} is no CVE id: use CVE-2026-12345"
ALIAS = re.compile(r"[A-Z]+(-[A-Z0-9]+)*-20\d\d-[0-9a-z]{8,}", re.ASCII)  # what Bodhi calls an update


def cves_in(*texts: str) -> tuple[str, ...]:
    """The ids of CVEs that these texts name, in capitals, each once, in their order."""
    return tuple(dict.fromkeys(cve.upper() for text in texts for cve in CVE.findall(text)))


class Severity(StrEnum):
    """Bodhi's severities, most severe first."""

    URGENT = "urgent"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    UNSPECIFIED = "unspecified"

    @property
    def weight(self) -> int:
        """0 for unspecified up to 4 for urgent."""
        return WEIGHTS[self]


WEIGHTS = {severity: 4 - place for place, severity in enumerate(Severity)}


def most_severe(severities: tuple[Severity, ...]) -> Severity:
    """The highest of these severities; unspecified where there are none."""
    return max(severities, key=lambda severity: severity.weight, default=Severity.UNSPECIFIED)


class Change(Struct, frozen=True):
    """A source RPM build that is new in a stream. `update` and `url` name the Bodhi update that brought it.

    `rpms` has the names of the binary RPMs it was built into, where that is known; empty is not known.
    `cves` are the ids of what it fixes, as far as its update tells.
    """

    build: SourceBuild
    stream: str
    severity: Severity = Severity.UNSPECIFIED
    update: str = ""
    url: str = ""
    type: str = ""
    rpms: tuple[str, ...] = ()
    cves: tuple[str, ...] = ()

    def makes_stale(self, rpm: Rpm) -> bool:
        """Whether it offers something newer for an RPM of its own source package."""
        return self.replaces(rpm) and is_stale(rpm, self.build.evr)

    def replaces(self, rpm: Rpm) -> bool:
        """Whether it has such an RPM at all: a package that it was built without any more, nothing will update."""
        return not self.rpms or rpm.name in self.rpms

    def __str__(self) -> str:
        return f"{self.build} in {self.stream}"


class AvailableBuild(Struct, frozen=True):
    """A source build that a message says is available: in a Bodhi release or a Koji tag, not yet in a stream.

    `waits_for_repo` names a Koji tag whose repository must be made anew before the RPM can be installed.
    `stream` is the one that an operator means; messages from elsewhere do not know our streams.
    """

    build: SourceBuild
    bodhi_release: str = ""
    koji_tag: str = ""
    testing: bool = False
    severity: Severity = Severity.UNSPECIFIED
    update: str = ""
    url: str = ""
    type: str = ""
    waits_for_repo: str = ""
    cves: tuple[str, ...] = ()
    stream: str = ""


class BuildUntagged(Struct, frozen=True):
    """A source build is not available any more: it was taken out of `koji_tag`, or Bodhi took `update` back.

    One of the two is empty. A build that left one tag may be in another one of the stream: Koji knows.
    """

    build: SourceBuild
    koji_tag: str = ""
    update: str = ""
    bodhi_release: str = ""


class RepoDone(Struct, frozen=True):
    """The repository of a Koji tag was made anew."""

    koji_tag: str


class BuildFinished(Struct, frozen=True):
    """Koji says that a build changed its state to COMPLETE. `container` is true for a container image build."""

    build: SourceBuild
    task_id: int | None
    container: bool


class TestFinished(Struct, frozen=True):
    """A CI has tested a build, which has these names (NVR, digest); the `test` is named as in ResultsDB."""

    __test__ = False  # it is nothing that pytest should collect

    builds: tuple[str, ...]
    test: str
    passed: bool
    result: str
    url: str = ""


class Ignored(Struct, frozen=True):
    """The message is well formed and of no interest, for the reason given."""

    reason: str


Event = AvailableBuild | BuildUntagged | RepoDone | BuildFinished | TestFinished | Ignored


class InvalidMessage(RequestError):
    """A message whose fields are missing or wrong; the text says which."""


def streams_for(build: SourceBuild, streams: tuple[Stream, ...]) -> tuple[str, ...]:
    """The streams that take a build by its dist tag; when any with a dist does, those without one still do."""
    return tuple(stream.name for stream in streams if stream.takes(build.evr.release))
