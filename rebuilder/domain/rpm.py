"""RPM names and versions, and the one question asked of them: is what is installed older than what is available?"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Iterable
from functools import lru_cache

from msgspec import Struct
from rpm_version import evr_compare

from rebuilder.domain.errors import RequestError

# In the release of every RPM that was built in a module; which of the module's streams it is of, it does not tell.
MODULE = ".module"
FOREIGN = re.compile("[/:]")  # what neither a name nor a release has
DIGIT = re.compile(r"\d")
EPOCH = re.compile("([0-9]+):([^:]+)")  # an epoch, and the version behind it
LARGEST_EPOCH, LONGEST_EPOCH = 2**32 - 1, 10  # and its digits
LONGEST = 255  # characters of a build's name, version and release, as PostgreSQL's indexes take no longer ones
LONGEST_SHOWN = 60  # characters of what is refused
ARCHES = frozenset({
    *("noarch", "src", "x86_64", "i386", "i486", "i586", "i686", "athlon", "aarch64", "riscv64", "loongarch64"),
    *("armv5tel", "armv6hl", "armv7hl", "armv7hnl", "ppc", "ppc64", "ppc64le", "nosrc", "s390", "s390x", "sparc64"),
})


class EVR(Struct, frozen=True):
    """Epoch, version and release. An epoch of None is unknown (messages often leave it out), which is not 0."""

    epoch: int | None
    version: str
    release: str

    @property
    def version_release(self) -> str:
        """`version-release`, as an NVR ends."""
        return f"{self.version}-{self.release}"

    def __str__(self) -> str:
        return f"{self.epoch}:{self.version_release}" if self.epoch else self.version_release

    def within(self, epoch: int) -> EVR:
        """The same version, its epoch taken to be `epoch` where it is unknown."""
        return self if self.epoch is not None else EVR(epoch, self.version, self.release)

    def is_newer_than(self, other: EVR) -> bool:
        """Compare as RPM does; an unknown epoch counts as the other's."""
        mine, theirs = self.within(other.epoch or 0), other.within(self.epoch or 0)
        return bool(evr_compare(mine.full, theirs.full) > 0)

    @property
    def full(self) -> str:
        """`epoch:version-release`, with the epoch even where it is 0 or unknown."""
        return f"{self.epoch or 0}:{self.version_release}"


class SourceBuild(Struct, frozen=True):
    """One build of a source package, as Koji and Bodhi name it: `name-[epoch:]version-release`."""

    name: str
    evr: EVR

    @classmethod
    def parse(cls, text: str) -> SourceBuild:
        """Read `openssl-3.2.2-1.fc42` or `openssl-1:3.2.2-1.fc42`.

        Raises RequestError when the text is not of that form.
        """
        stripped = text.strip()
        parts = stripped.rsplit("-", 2)
        if len(parts) != 3 or not all(parts) or not _is_plain(stripped) or FOREIGN.search(parts[0] + parts[2]):
            raise RequestError(f"not an NVR (name-version-release): {text[:LONGEST]!r}")
        name, version, release = parts
        with_epoch = EPOCH.fullmatch(version)
        if with_epoch is None and ":" in version:
            raise RequestError(f"not an NVR (name-epoch:version-release): {text!r}")
        epoch = None
        if with_epoch is not None:
            epoch, version = _epoch(with_epoch[1], text), with_epoch[2]
        if not DIGIT.search(version):
            raise RequestError(f"not an NVR (its version {version!r} has no digit): {text!r}")
        return cls(name, EVR(epoch, version, release))

    @property
    def nvr(self) -> str:
        """`name-version-release`, without the epoch, as Koji and Bodhi name builds."""
        return f"{self.name}-{self.evr.version_release}"

    def __str__(self) -> str:
        return f"{self.name}-{self.evr}"


def _is_plain(text: str) -> bool:
    return text.isprintable() and " " not in text and len(text) <= LONGEST


def _epoch(digits: str, text: str) -> int:
    """An epoch that RPM can have, and databases keep. Raises RequestError."""
    if len(digits) > LONGEST_EPOCH or int(digits) > LARGEST_EPOCH:
        raise RequestError(f"an epoch is at most {LARGEST_EPOCH}: {text[:LONGEST_SHOWN]!r}")
    return int(digits)


class Rpm(Struct, frozen=True, cache_hash=True, gc=False):
    """A binary RPM in an image: its NEVRA and the source package it was built from.

    Manifests hold each by the thousand, so it keeps its hash, and no collector looks into it.

    `source_evr` is the version of that source build where it is known (the RPM's SOURCERPM tag): binary packages may
    carry versions of their own, as those of perl do, and then only this one may be compared with an update's.
    """

    name: str
    epoch: int
    version: str
    release: str
    arch: str
    source: str
    source_evr: str = ""

    @classmethod
    def parse(cls, nevra: str, source: str = "") -> Rpm:
        """Read a NEVRA; `source` is a source package's name or a SOURCERPM (`openssl-3.2.1-1.fc42.src.rpm`).

        Raises RequestError when the NEVRA or the SOURCERPM does not parse.
        """
        if not source.isprintable() or len(source) > LONGEST:
            raise RequestError(f"not a source package: {source[:LONGEST_SHOWN]!r}")
        stem, dot, arch = nevra.strip().rpartition(".")
        if not dot or arch not in ARCHES:
            raise RequestError(f"not a NEVRA (name-[epoch:]version-release.arch): {nevra[:LONGEST]!r}")
        try:
            build = SourceBuild.parse(stem)
        except RequestError:
            raise RequestError(f"not a NEVRA (name-[epoch:]version-release.arch): {nevra[:LONGEST]!r}") from None
        name, source_evr = source or build.name, ""
        if source.endswith(".src.rpm"):
            origin = SourceBuild.parse(source.removesuffix(".src.rpm"))
            name, source_evr = origin.name, origin.evr.version_release
        evr = build.evr
        return cls(build.name, evr.epoch or 0, evr.version, evr.release, arch, name, source_evr)

    @property
    def evr(self) -> EVR:
        """Its epoch, version and release."""
        return EVR(self.epoch, self.version, self.release)

    @property
    def nevra(self) -> str:
        """`name-[epoch:]version-release.arch`."""
        return f"{self.name}-{self.evr}.{self.arch}"

    @property
    def built_from(self) -> str:
        """The source build, where that has another version than the RPM: it is what an update's is compared with."""
        other = self.source_evr and self.source_evr != self.evr.version_release
        return f"{self.source}-{self.source_evr}" if other else ""

    @property
    def sourcerpm(self) -> str:
        """The SOURCERPM where it is known, else the source package's name: what `parse` takes back."""
        return f"{self.source}-{self.source_evr}.src.rpm" if self.source_evr else self.source

    def __str__(self) -> str:
        return self.nevra


@lru_cache(maxsize=16384)  # it keeps what it was asked about: some 10 MB; each new update is another `offered`
def is_stale(rpm: Rpm, offered: EVR) -> bool:
    """Whether `rpm` is older than the source build `offered` of its own source package.

    Compared with the source build it came from where that is known, else with its own version. The epoch is the
    binary's: SOURCERPM has none, and where a binary package has a version of its own its epoch says nothing.
    """
    if not rpm.source_evr:
        return offered.is_newer_than(rpm.evr)
    version, _, release = rpm.source_evr.rpartition("-")
    epoch = rpm.epoch if version == rpm.version else None
    return offered.is_newer_than(EVR(epoch, version, release))


# What dnf installs side by side by default: its `installonlypkgs`, and what provides installonlypkg(kernel).
INSTALLONLY = (
    "kernel", "kernel-PAE*", "kernel-core", "kernel-modules*", "kernel-devel*", "kernel-uki-*", "kernel-debug",
    "kernel-debug-*", "kernel-rt*", "kernel-64k*", "kernel-16k*", "kmod-*",
)  # fmt: skip


@lru_cache(maxsize=16)
def _any_of(globs: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(fnmatch.translate, globs)) or r"(?!)")


def is_installonly(name: str, installonly: tuple[str, ...]) -> bool:
    """Whether packages of the name are installed side by side, by these globs."""
    return _any_of(installonly).match(name) is not None


def that_count(rpms: Collection[Rpm], installonly: tuple[str, ...]) -> Collection[Rpm]:
    """The RPMs of an image, without those beside which a newer one of the same name and architecture is installed.

    Only packages whose names one of the globs fits are installed side by side: of others two mean that both are used.
    """
    if len({(rpm.name, rpm.arch) for rpm in rpms}) == len(rpms):
        return rpms
    beside: dict[tuple[str, str], list[Rpm]] = {}
    for rpm in rpms:
        if is_installonly(rpm.name, installonly):
            beside.setdefault((rpm.name, rpm.arch), []).append(rpm)
    newest_of = {alike: newest(rpm.evr for rpm in copies) for alike, copies in beside.items()}
    return [rpm for rpm in rpms if newest_of.get((rpm.name, rpm.arch), rpm.evr) == rpm.evr]


def newest(versions: Iterable[EVR]) -> EVR:
    """The newest of `versions`, in whatever order they come; among equals one that knows its epoch.

    An epoch that is unknown counts as the highest that is known: a package's epoch never goes back. Raises ValueError
    where there are none.
    """
    ordered = sorted(versions, key=lambda version: (version.epoch is None, str(version)))
    if not ordered:
        raise ValueError("newest() of nothing")
    epoch = max((version.epoch for version in ordered if version.epoch is not None), default=0)
    best = ordered[0]
    for version in ordered[1:]:
        if version.within(epoch).is_newer_than(best.within(epoch)):
            best = version
    return best
