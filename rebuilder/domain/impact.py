"""What changes mean for images: the affected ones, by which of their RPMs, and why others are left out.

Pure values. An image is affected where its current build carries an RPM from a change's source package, of the change's
stream, older than what the change offers: `rebuilder.domain.assessment` looks for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from msgspec import Struct, field
from msgspec.structs import replace

from rebuilder.domain.change import Change, most_severe
from rebuilder.domain.external import ExternalImage, Wait
from rebuilder.domain.graph import Subgraph
from rebuilder.domain.policy import Rule
from rebuilder.domain.rpm import INSTALLONLY, MODULE, Rpm, newest


class Skip(StrEnum):
    """Why an image that carries a changed package, or may carry it, is left out. `by` is what Skipped names."""

    ALREADY_CURRENT = "already-current"
    OTHER_MODULE = "other-module"
    OTHER_STREAM = "other-stream"
    DROPPED = "dropped"
    WITHDRAWN = "withdrawn"
    UNKNOWN = "unknown"
    POLICY = "policy"  # by: the rule
    HELD = "held"  # by: who, and why
    PARENT_LEFT_OUT = "parent-left-out"  # by: the image whose old build it would be built on
    WAITS_FOR_PARENT = "waits-for-parent"  # by: the external parent that still has the old RPM
    PINNED_PARENT = "pinned-parent"  # by: the same, where the source names its digest: no rebuild brings another one


STILL_STALE = frozenset({Skip.POLICY, Skip.HELD, Skip.PARENT_LEFT_OUT})


class Skipped(Struct, frozen=True):
    """An image that is left out, with the reason; `parent` is the external one that it waits for."""

    image: str
    reason: Skip
    by: str = ""
    parent: ExternalImage | None = None


class Reason(Struct, frozen=True):
    """Why an image is rebuilt.

    `rpm`: it carries `installed`, and `change` offers a newer build; `inherited_from` is the layer that brought the
    RPM in, empty where the image itself does. That layer may have it from its `external` parent, whose
    contents are unknown here. `compared` is its source build, where its own version is another one. `parent`: it is
    built on an image that is rebuilt (`inherited_from`). `upgrades` says why a rebuild may bring the
    change in although the external parent lacks it.
    """

    kind: str
    change: Change
    installed: str = ""
    inherited_from: str = ""
    external: str = ""
    compared: str = ""
    upgrades: str = ""


class InstalledPackages(Struct, frozen=True):
    """What of the changed packages is in the images' current builds.

    `rpms` has, for each image that carries any, its RPMs of the changed source packages; `unknown` names the images
    whose current build could not be read. `externals` has what is known of external parents, by pull spec.
    """

    rpms: Mapping[str, Sequence[Rpm]]
    unknown: frozenset[str] = frozenset()
    externals: Mapping[str, ExternalImage] = field(default_factory=dict)


class PlanOptions(Struct, frozen=True):
    """The operators' wishes: `descendants` is affected or all, `stage_parents` order or propagate.

    `held` has the images that must not be built, each with who holds it and why. `installonly` are globs of packages of
    which several versions are installed side by side.
    """

    descendants: str = "affected"
    stage_parents: str = "order"
    rules: tuple[Rule, ...] = ()
    held: Mapping[str, str] = field(default_factory=dict)
    installonly: tuple[str, ...] = INSTALLONLY
    external: Wait = Wait.AUTO


class Impact(Struct, frozen=True):
    """The affected images, the `reasons` of each in their order; those left out; and what the rules had to say.

    `denied` counts the images that each rule left out, `asked` has the changes that a rule wants approved.
    """

    affected: Subgraph
    reasons: Sequence[tuple[Reason, ...]]
    skipped: Mapping[str, Skipped]
    denied: Mapping[str, int]
    asked: Mapping[Change, Rule]


def merge(changes: Iterable[Change], carried: InstalledPackages) -> tuple[Change, ...]:
    """One change for each source package and stream: the newest build, with the severity of the worst.

    An epoch that no message told is taken from what is installed, where all that is installed agrees.
    """
    groups: dict[tuple[str, str, bool], list[Change]] = {}
    for change in changes:
        groups.setdefault(subject_of(change), []).append(change)
    epochs: dict[str, set[int]] = {}
    for rpm in {rpm for rpms in carried.rpms.values() for rpm in rpms}:
        epochs.setdefault(rpm.source, set()).add(rpm.epoch)
    return tuple(_newest(group, epochs.get(source, set())) for (source, _, _), group in groups.items())


def subject_of(change: Change) -> tuple[str, str, bool]:
    """What a change is about: a source package in a stream, and whether it is of a module."""
    return change.build.name, change.stream, MODULE in change.build.evr.release


def _newest(group: Sequence[Change], epochs: set[int]) -> Change:
    if len(epochs) == 1:
        (epoch,) = epochs
        group = [replace(c, build=replace(c.build, evr=c.build.evr.within(epoch))) for c in group]
    best = newest(change.build.evr for change in group)
    first = next(change for change in group if change.build.evr == best)
    return replace(first, severity=most_severe(tuple(change.severity for change in group)))
