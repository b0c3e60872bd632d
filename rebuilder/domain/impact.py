"""Which images changes affect, by which of their RPMs; and why others that carry the packages are left out.

Pure. An image is affected where its current build carries an RPM from a change's source package, of the change's
stream, older than what the change offers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

from rebuilder.domain import belonging, policy
from rebuilder.domain.belonging import ParentRef
from rebuilder.domain.change import Change, most_severe
from rebuilder.domain.external import ExternalImage, Externals, Wait
from rebuilder.domain.graph import Graph, Subgraph
from rebuilder.domain.image import Image, ParentKind
from rebuilder.domain.policy import Action, Rule
from rebuilder.domain.rpm import INSTALLONLY, MODULE, Rpm, newest, that_count


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


@dataclass(frozen=True, slots=True)
class Skipped:
    """An image that is left out, with the reason; `parent` is the external one that it waits for."""

    image: str
    reason: Skip
    by: str = ""
    parent: ExternalImage | None = None


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an image is rebuilt.

    `rpm`: it carries `installed`, and `change` offers a newer build; `inherited_from` is the layer that brought the
    RPM in, empty where the image itself does. That layer may have it from its `external` parent, into which nobody
    here can look. `compared` is its source build, where its own version is another one. `parent`: it is built on an
    image that is rebuilt (`inherited_from`). `upgrades` says why a rebuild may bring the change in although the
    external parent lacks it.
    """

    kind: str
    change: Change
    installed: str = ""
    inherited_from: str = ""
    external: str = ""
    compared: str = ""
    upgrades: str = ""


@dataclass(frozen=True, slots=True)
class InstalledPackages:
    """What of the changed packages is in the images' current builds.

    `rpms` has, for each image that carries any, its RPMs of the changed source packages; `unknown` names the images
    whose current build nobody could read. `externals` has what is known of external parents, by pull spec.
    """

    rpms: Mapping[str, Sequence[Rpm]]
    unknown: frozenset[str] = frozenset()
    externals: Mapping[str, ExternalImage] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlanOptions:
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


@dataclass(frozen=True, slots=True)
class Impact:
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
        groups.setdefault(_subject(change), []).append(change)
    epochs: dict[str, set[int]] = {}
    for rpm in {rpm for rpms in carried.rpms.values() for rpm in rpms}:
        epochs.setdefault(rpm.source, set()).add(rpm.epoch)
    return tuple(_newest(group, epochs.get(source, set())) for (source, _, _), group in groups.items())


def _subject(change: Change) -> tuple[str, str, bool]:
    """What a change is about: a package in a stream, of a module or of none."""
    return change.build.name, change.stream, MODULE in change.build.evr.release


def _newest(group: Sequence[Change], epochs: set[int]) -> Change:
    if len(epochs) == 1:
        (epoch,) = epochs
        group = [replace(c, build=replace(c.build, evr=c.build.evr.within(epoch))) for c in group]
    best = newest(change.build.evr for change in group)
    first = next(change for change in group if change.build.evr == best)
    return replace(first, severity=most_severe(tuple(change.severity for change in group)))


def assess(graph: Graph, carried: InstalledPackages, changes: Sequence[Change], terms: PlanOptions) -> Impact:
    """Look at every image that carries, or may carry, one of the packages. `changes` are merged ones."""
    return _Search(graph, carried, changes, terms).findings()


class _Stale(NamedTuple):
    """An RPM that is older than what the change at `place` offers."""

    place: int
    rpm: Rpm
    reason: Reason


@dataclass(frozen=True, slots=True)
class _Content:
    """What the changes mean for the RPMs of an image, and of all below it that have just the same.

    `layers` has the layer that brought each RPM in; "" is the image itself, if `own`. `foreign` has the streams of the
    RPMs that are of another one. `waiting` has the external parents of the RPMs that no rebuild can bring in before
    they have them; `plain` says that no external parent had a say.
    """

    rpms: Sequence[Rpm]
    stream: str
    layers: Mapping[Rpm, str]
    stale: tuple[_Stale, ...]
    reasons: tuple[Reason, ...]
    otherwise: Skip
    own: bool
    foreign: Mapping[Rpm, str]
    waiting: Mapping[Rpm, ExternalImage]
    plain: bool


class _Search:
    """Goes through the images, parents first: what a parent's verdict is must be known before its children's."""

    def __init__(self, graph: Graph, carried: InstalledPackages, changes: Sequence[Change], terms: PlanOptions) -> None:
        self._graph = graph
        self._carried = carried
        self._terms = terms
        self._changes = changes
        self._offers = {_subject(change): place for place, change in enumerate(changes)}
        self._rules = [policy.about(terms.rules, change) for change in changes]
        self._ruled = any(self._rules)
        self._externals = Externals(carried.externals, terms.external)
        self._still_stale: set[str] = set()
        self._known: dict[tuple[str, Rpm], tuple[str, int] | Skip] = {}
        self._images = graph.layers(carried.rpms)
        self._contents: list[_Content] = []
        self._handed_on: dict[int, _Content] = {}
        self._skipped: dict[str, Skipped] = {}
        self._denials: Counter[str] = Counter()
        self._asked: dict[Change, Rule] = {}

    def findings(self) -> Impact:
        """Decide of each image whether it is rebuilt, and why; or why it is left out."""
        affected, reasons = self._images, self._look()
        self._leave_out_unknown()
        kinds = self._followed()
        if kinds or not all(reasons):
            known = {key: why for key, why in zip(affected.names, reasons, strict=True) if why}
            if kinds:
                self._propagate(known, kinds)
            affected = self._graph.layers(known)
            reasons = list(affected.each(known))
        return Impact(affected, reasons, self._skipped, self._denials, self._asked)

    def _look(self) -> list[tuple[Reason, ...]]:
        """The reasons of each image that carries one of the packages, none where it is left out.

        A list, because a mapping of so many images outgrows the processor's cache.
        """
        images, found = self._images, []
        carried = images.each(self._carried.rpms)
        for number, (key, rpms, bases) in enumerate(zip(images.names, carried, images.bases, strict=True)):
            content = self._content(key, rpms, bases)
            self._contents.append(content)
            reasons = content.reasons
            if not reasons and content.waiting:
                self._wait(key, next(iter(content.waiting.values())))
            elif not reasons:
                self._leave_out(key, content.otherwise)
            elif self._ruled or self._still_stale or key in self._terms.held:
                reasons = self._decide(number, key, content.stale)
            found.append(reasons)
        return found

    def _leave_out(self, key: str, reason: Skip, by: str = "") -> None:
        self._skipped[key] = Skipped(key, reason, by)
        if reason in STILL_STALE:
            self._still_stale.add(key)

    def _wait(self, key: str, parent: ExternalImage) -> None:
        reason = Skip.PINNED_PARENT if parent.pinned else Skip.WAITS_FOR_PARENT
        self._skipped[key] = Skipped(key, reason, str(parent), parent)

    def _leave_out_unknown(self) -> None:
        streams = {change.stream for change in self._changes}
        for key in self._carried.unknown:
            # What it has from a parent in another stream is of that one.
            if streams & {name.rpartition(":")[2] for name in (key, *self._graph.ancestors([key]))}:
                self._leave_out(key, Skip.UNKNOWN)

    def _content(self, key: str, rpms: Sequence[Rpm], bases: Sequence[int]) -> _Content:
        """Most images have nothing of their own, and then the same content as all such images below their parent."""
        stream = key[key.rindex(":") + 1 :]
        above = self._contents[bases[0]] if len(bases) == 1 else None
        if above is None or not self._alike(key, rpms, stream, above):
            return self._read(key, rpms, stream, bases)
        if not above.own:
            return above
        content = self._handed_on.get(bases[0])
        if content is None:
            content = self._handed_on[bases[0]] = self._read(key, rpms, stream, bases)
        return content

    def _alike(self, key: str, rpms: Sequence[Rpm], stream: str, above: _Content) -> bool:
        """Whether what is known of the parent's content is true of the image's, too."""
        same = above.stream == stream and above.rpms == rpms
        return same and above.plain and not (self._externals and self._has_say(key))

    def _has_say(self, key: str) -> bool:
        """Whether the image may differ from its parent in what external parents mean for it."""
        image = self._graph.image(key)
        return bool(image.source.upgrades) or any(parent.external in self._externals.known for parent in image.parents)

    def _layers(self, rpms: Iterable[Rpm], bases: Iterable[int]) -> dict[Rpm, str]:
        layers = dict.fromkeys(rpms, "")
        for parent in bases:
            for rpm, layer in self._contents[parent].layers.items():
                if layers.get(rpm) == "":
                    layers[rpm] = layer or self._images.names[parent]
        return layers

    def _read(self, key: str, rpms: Sequence[Rpm], stream: str, bases: Sequence[int]) -> _Content:
        stale, others = list[_Stale](), set[Skip]()
        layers = self._layers(that_count(rpms, self._terms.installonly), bases)
        above = [self._contents[base] for base in bases]
        foreign = belonging.foreign(layers, stream, [ParentRef(one.rpms, one.stream, one.foreign) for one in above])
        for rpm, layer in layers.items():
            of = foreign.get(rpm, stream)
            answer = self._known.get((of, rpm))
            if answer is None:
                answer = self._known[of, rpm] = self._answer(rpm, of)
            if isinstance(answer, Skip):
                others.add(answer)
            else:
                nevra, place = answer
                external = self._external(layer or key)
                reason = Reason("rpm", self._changes[place], nevra, layer, external, rpm.built_from)
                stale.append(_Stale(place, rpm, reason))
        lacking = self._lacking(key, stale, layers, above) if self._externals else {}
        stale, waiting = self._divide(key, stale, lacking) if lacking else (stale, {})
        otherwise = next((skip for skip in Skip if skip in others), Skip.UNKNOWN)
        reasons = tuple([item.reason for item in stale])
        own = "" in layers.values()
        return _Content(
            rpms, stream, layers, tuple(stale), reasons, otherwise, own, foreign, waiting, plain=not lacking
        )

    def _lacking(
        self, key: str, stale: Sequence[_Stale], layers: Mapping[Rpm, str], above: Sequence[_Content]
    ) -> dict[Rpm, ExternalImage]:
        """The external parents from which the image has old RPMs, and which have nothing newer, by the RPM."""
        image, found = self._graph.image(key), dict[Rpm, ExternalImage]()
        for item in stale:
            if layers[item.rpm]:
                parent = next((one.waiting[item.rpm] for one in above if item.rpm in one.waiting), None)
            else:
                parent = self._externals.below(image, self._changes[item.place], item.rpm)
            if parent is not None:
                found[item.rpm] = parent
        return found

    def _divide(
        self, key: str, stale: Iterable[_Stale], lacking: Mapping[Rpm, ExternalImage]
    ) -> tuple[list[_Stale], dict[Rpm, ExternalImage]]:
        """What a rebuild can bring in, and what has to wait for an external parent."""
        image, kept, waiting = self._graph.image(key), list[_Stale](), dict[Rpm, ExternalImage]()
        for item in stale:
            upgrades = self._externals.upgrades(image, self._rules[item.place]) if item.rpm in lacking else ""
            if item.rpm in lacking and not upgrades:
                waiting[item.rpm] = lacking[item.rpm]
            else:
                reason = replace(item.reason, upgrades=upgrades) if upgrades else item.reason
                kept.append(item._replace(reason=reason))
        return kept, waiting

    def _through(self, number: int, rpm: Rpm) -> str:
        """The parent that hands the RPM on to the image; "" where the image has it of its own."""
        if not self._contents[number].layers[rpm]:
            return ""
        bases = self._images.bases[number]
        return next(self._images.names[parent] for parent in bases if rpm in self._contents[parent].layers)

    def _answer(self, rpm: Rpm, stream: str) -> tuple[str, int] | Skip:
        """The RPM's name and the place of the change that makes it stale, or why none does."""
        modular = MODULE in rpm.release
        place = self._offers.get((rpm.source, stream, modular))
        if place is not None:
            change = self._changes[place]
            if not change.replaces(rpm):
                return Skip.DROPPED
            return (rpm.nevra, place) if change.makes_stale(rpm) else Skip.ALREADY_CURRENT
        return Skip.OTHER_MODULE if (rpm.source, stream, not modular) in self._offers else Skip.OTHER_STREAM

    def _decide(self, number: int, key: str, stale: Sequence[_Stale]) -> tuple[Reason, ...]:
        """Its reasons where the rules and the operators let it be rebuilt, else none."""
        image = self._graph.image(key)
        denied = self._rules_against(image, {item.place for item in stale})
        allowed = [item for item in stale if item.place not in denied]
        reachable = self._reachable(number, allowed)
        if not allowed:
            self._leave_out(key, Skip.POLICY, min(denied.values()))
        elif key in self._terms.held:
            self._leave_out(key, Skip.HELD, self._terms.held[key])
        elif not reachable:
            self._leave_out(key, Skip.PARENT_LEFT_OUT, self._through(number, allowed[0].rpm))
        else:
            self._ask(image, sorted(reachable))
            return tuple(item.reason for item in allowed if item.place in reachable)
        return ()

    def _reachable(self, number: int, stale: Iterable[_Stale]) -> set[int]:
        """The places of the changes whose RPMs come from layers that are rebuilt, too."""
        return {item.place for item in stale if self._through(number, item.rpm) not in self._still_stale}

    def _rules_against(self, image: Image, places: Iterable[int]) -> dict[int, str]:
        """The changes that a rule denies the image, by their places, each with the rule's name."""
        denied = {}
        for place in places:
            rule = policy.decide(self._rules[place], image)
            if rule is not None and rule.action is Action.DENY:
                denied[place] = rule.name
        self._denials.update(denied.values())
        return denied

    def _ask(self, image: Image, places: Iterable[int]) -> None:
        for place in places:
            rule = policy.decide(self._rules[place], image)
            if rule is not None and rule.action is Action.APPROVE:
                self._asked.setdefault(self._changes[place], rule)

    def _external(self, layer: str) -> str:
        parents = self._graph.image(layer).parents
        return next((p.external for p in parents if p.external and p.kind is ParentKind.BASE), "")

    def _followed(self) -> frozenset[ParentKind]:
        """The kinds of parents for whose sake an image is rebuilt too."""
        bases, stages = self._terms.descendants == "all", self._terms.stage_parents == "propagate"
        return frozenset({*([ParentKind.BASE] if bases else []), *([ParentKind.STAGE] if stages else [])})

    def _propagate(self, reasons: dict[str, tuple[Reason, ...]], kinds: frozenset[ParentKind]) -> None:
        """Take in what is rebuilt for a parent's sake: with the first such parent's change."""
        for key in self._graph.in_order(self._graph.descendants(reasons, kinds)):
            if key not in reasons:
                self._follow(self._graph.image(key), kinds, reasons)

    def _follow(
        self, image: Image, kinds: Container[ParentKind], reasons: dict[str, tuple[Reason, ...]]
    ) -> None:
        above = [parent for parent, kind in self._graph.parents(image.key) if kind in kinds]
        parent = next((parent for parent in above if parent in reasons), "")
        if not parent:
            return
        change = reasons[parent][0].change
        place = self._changes.index(change)
        denied = self._rules_against(image, [place])
        if denied:
            self._leave_out(image.key, Skip.POLICY, denied[place])
        elif image.key in self._terms.held:
            self._leave_out(image.key, Skip.HELD, self._terms.held[image.key])
        else:
            self._ask(image, [place])
            self._skipped.pop(image.key, None)
            reasons[image.key] = (Reason("parent", change, inherited_from=parent),)
