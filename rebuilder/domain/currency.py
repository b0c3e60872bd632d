"""What an image is, whatever became of its last rebuild: current, stale, unknown, held, or waiting.

Pure. An image lacks a change where its current build carries an older RPM from the change's source package: nothing
else counts, neither a rebuild that succeeded nor a plan that left the image out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from functools import cached_property

from msgspec import Struct

from rebuilder.domain.change import Change, Severity, most_severe
from rebuilder.domain.external import BaseMoved
from rebuilder.domain.lifecycle import OPEN, State
from rebuilder.domain.rpm import MODULE, Rpm

NOT_DONE = frozenset({State.FAILED, State.CANCELED, State.BLOCKED})
SEVERE = frozenset({Severity.URGENT, Severity.HIGH})


class Currency(StrEnum):
    """What an image is; what needs attention most comes first."""

    UNKNOWN = "unknown"  # its contents could not be read
    STALE = "stale"  # it lacks something
    HELD = "held"  # an operator keeps it as it is, whether it lacks something or not
    WAITING = "waiting"  # it lacks something that only a parent of somebody else's can bring
    CURRENT = "current"  # it has all that it should have


class Offered(Struct, frozen=True):
    """A change with its id in the store; `since` is when it was noticed (seconds since the epoch)."""

    id: int
    change: Change
    since: float

    def __hash__(self) -> int:
        return hash(self.id)  # very many images lack the same: all that is in a change takes long

    @property
    def is_security(self) -> bool:
        """Whether it closes a hole, or is as pressing as if it did."""
        return self.change.type == "security" or self.change.severity in SEVERE


Lacking = Mapping[str, tuple[Offered, ...]]


class Lack(Struct, frozen=True, dict=True):
    """The changes that an image lacks, the oldest first; many images share one."""

    offered: tuple[Offered, ...] = ()

    @cached_property
    def ids(self) -> frozenset[int]:
        """The ids of the changes."""
        return frozenset(one.id for one in self.offered)

    @cached_property
    def changes(self) -> list[Change]:
        """The changes themselves."""
        return [one.change for one in self.offered]

    @cached_property
    def severity(self) -> Severity | None:
        """That of the most severe change; None where none is missing."""
        return most_severe(tuple(one.change.severity for one in self.offered)) if self.offered else None

    @cached_property
    def is_of_security(self) -> bool:
        """Whether one of the changes is a security fix."""
        return any(one.is_security for one in self.offered)


NOTHING = Lack()


class ImageState(Struct, frozen=True):
    """What one image is now, and what it lacks.

    `why` says who holds it or what it waits for; `last_rebuild` is the state of its newest rebuild, empty for none.
    `base` is the digest of its external base that it should stand on and does not, where any new one counts. The
    contents of one that is not `known` could not be read: what it lacks is unknown, also where it is on hold.
    """

    image: str
    id: int
    state: Currency
    lack: Lack = NOTHING
    why: str = ""
    last_rebuild: str = ""
    base: BaseMoved | None = None
    known: bool = True

    @property
    def missing(self) -> tuple[Offered, ...]:
        """The changes that it lacks, the oldest first."""
        return self.lack.offered

    @property
    def since(self) -> float | None:
        """When the first of what it lacks was noticed, in seconds since the epoch; None where it lacks nothing."""
        moments = [one.since for one in self.lack.offered[:1]]
        if self.base is not None and self.base.since is not None:
            moments.append(self.base.since)
        return min(moments, default=None)

    @property
    def severity(self) -> Severity | None:
        """That of the most severe missing change; None where none is missing."""
        return self.lack.severity

    @property
    def is_risky(self) -> bool:
        """Whether one of the missing changes is a security fix, or may be, as its contents are unknown."""
        return self.lack.is_of_security or not self.known


_SEVERITIES = {severity: place for place, severity in enumerate(Severity)}
_CURRENCIES = {currency: place for place, currency in enumerate(Currency)}


def need_of(image: ImageState) -> tuple[int, int]:
    """How much an image needs attention, least first: what has no owner, how severe what it lacks is.

    What is stale and being rebuilt needs no operator; what was not rebuilt well, or is kept from a security fix, does.
    """
    severity = _SEVERITIES[image.severity] if image.severity else len(Severity)
    lacking = image.state is not Currency.CURRENT
    if image.state is Currency.UNKNOWN or (image.state is Currency.HELD and image.is_risky):
        return 0, severity
    if lacking and image.last_rebuild in NOT_DONE:
        return 0, severity
    being_rebuilt = image.last_rebuild in OPEN
    return 1 + being_rebuilt + len(Currency) * _CURRENCIES[image.state], severity


class Offers:
    """The changes that are offered, by what they are about: which of them an RPM is older than."""

    def __init__(self, offered: Iterable[Offered]) -> None:
        self._subjects: dict[tuple[str, bool], list[Offered]] = {}
        for one in offered:
            subject = one.change.build.name, MODULE in one.change.build.evr.release
            self._subjects.setdefault(subject, []).append(one)

    @property
    def sources(self) -> set[str]:
        """The source packages of which a newer build is available."""
        return {source for source, _ in self._subjects}

    def lacking(self, rpm: Rpm) -> Lacking:
        """The changes that the RPM is older than, by the stream in which they are offered."""
        offers: dict[str, list[Offered]] = {}
        for one in self._subjects.get((rpm.source, MODULE in rpm.release), ()):
            if one.change.makes_stale(rpm):
                offers.setdefault(one.change.stream, []).append(one)
        return {stream: tuple(lacking) for stream, lacking in offers.items()}


def currency_of(
    *, known: bool, missing: Collection[Offered], held: bool, waits: bool, on_old_base: bool = False
) -> Currency:
    """What an image is of which this is known. A hold comes first: whoever set it knows better."""
    if held:
        return Currency.HELD
    if not known:
        return Currency.UNKNOWN
    if on_old_base:
        return Currency.STALE
    if not missing:
        return Currency.CURRENT
    return Currency.WAITING if waits else Currency.STALE
