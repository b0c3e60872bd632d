"""Which images changes affect, and which of them the policy, holds and parents leave out.

Pure: each image is decided on after its parents, as it is not rebuilt on one that stays stale.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Sequence

from rebuilder.domain import policy
from rebuilder.domain.change import Change
from rebuilder.domain.external import ExternalImage, Externals
from rebuilder.domain.graph import Graph
from rebuilder.domain.image import Image, ParentKind
from rebuilder.domain.image_name import stream_of
from rebuilder.domain.impact import STILL_STALE, Impact, InstalledPackages, PlanOptions, Reason, Skip, Skipped
from rebuilder.domain.policy import Action, Rule
from rebuilder.domain.staleness import Contents, Stale


def assess(graph: Graph, carried: InstalledPackages, changes: Sequence[Change], terms: PlanOptions) -> Impact:
    """Look at every image that carries, or may carry, one of the packages. `changes` are merged ones."""
    return _Assessment(graph, carried, changes, terms).findings()


class _Assessment:
    """Goes through the images, parents first: what a parent's verdict is must be known before its children's."""

    def __init__(self, graph: Graph, carried: InstalledPackages, changes: Sequence[Change], terms: PlanOptions) -> None:
        self._graph = graph
        self._carried = carried
        self._terms = terms
        self._changes = changes
        self._rules = [policy.about(terms.rules, change) for change in changes]
        self._ruled = any(self._rules)
        self._still_stale: set[str] = set()
        self._images = graph.layers(carried.rpms)
        externals = Externals(carried.externals, terms.external)
        self._contents = Contents(graph, self._images, changes, self._rules, externals, terms.installonly)
        self._skipped: dict[str, Skipped] = {}
        self._denials: Counter[str] = Counter()
        self._asked: dict[Change, Rule] = {}

    def findings(self) -> Impact:
        """Decide of each image whether it is rebuilt, and why; or why it is left out."""
        affected, reasons = self._images, self._look()
        self._leave_out_unknown()
        kinds = self._followed()
        if kinds or not all(reasons):
            reasons_of = {key: why for key, why in zip(affected.names, reasons, strict=True) if why}
            if kinds:
                self._propagate(reasons_of, kinds)
            affected = self._graph.layers(reasons_of)
            reasons = list(affected.each(reasons_of))
        return Impact(affected, reasons, self._skipped, self._denials, self._asked)

    def _look(self) -> list[tuple[Reason, ...]]:
        """The reasons of each image that carries one of the packages, none where it is left out.

        A list, because a mapping of so many images outgrows the processor's cache.
        """
        images, all_reasons = self._images, []
        carried = images.each(self._carried.rpms)
        for number, (key, rpms, bases) in enumerate(zip(images.names, carried, images.bases, strict=True)):
            content = self._contents.read(key, rpms, bases)
            reasons = content.reasons
            if not reasons and content.waiting:
                self._wait(key, next(iter(content.waiting.values())))
            elif not reasons:
                self._leave_out(key, content.otherwise)
            elif self._ruled or self._still_stale or key in self._terms.held:
                reasons = self._decide(number, key, content.stale)
            all_reasons.append(reasons)
        return all_reasons

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
            if streams & {stream_of(name) for name in (key, *self._graph.ancestors([key]))}:
                self._leave_out(key, Skip.UNKNOWN)

    def _decide(self, number: int, key: str, stale: Sequence[Stale]) -> tuple[Reason, ...]:
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
            self._leave_out(key, Skip.PARENT_LEFT_OUT, self._contents.through(number, allowed[0].rpm))
        else:
            self._ask(image, sorted(reachable))
            return tuple(item.reason for item in allowed if item.place in reachable)
        return ()

    def _reachable(self, number: int, stale: Iterable[Stale]) -> set[int]:
        """The places of the changes whose RPMs come from layers that are rebuilt, too."""
        return {item.place for item in stale if self._contents.through(number, item.rpm) not in self._still_stale}

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
