"""Which RPMs of an image are older than what changes offer, which layer brought each in, and what no rebuild can mend.

Pure. Images are read parents first, as an image has most of its RPMs from what it is built on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from rebuilder.domain import rpm_streams
from rebuilder.domain.change import Change
from rebuilder.domain.external import ExternalImage, Externals
from rebuilder.domain.graph import Graph, Subgraph
from rebuilder.domain.image import ParentKind
from rebuilder.domain.impact import Reason, Skip, subject_of
from rebuilder.domain.policy import Rule
from rebuilder.domain.rpm import MODULE, Rpm, that_count
from rebuilder.domain.rpm_streams import ParentRef


class Stale(Struct, frozen=True):
    """An RPM that is older than what the change at `place` offers."""

    place: int
    rpm: Rpm
    reason: Reason


class Content(Struct, frozen=True):
    """What the changes mean for the RPMs of an image, and of all below it that have just the same.

    `layers` has the layer that brought each RPM in; "" is the image itself, if `own`. `foreign` has the streams of the
    RPMs that are of another one. `waiting` has the external parents of the RPMs that no rebuild can bring in before
    they have them; `plain` says that no external parent had a say.
    """

    rpms: Sequence[Rpm]
    stream: str
    layers: Mapping[Rpm, str]
    stale: tuple[Stale, ...]
    reasons: tuple[Reason, ...]
    otherwise: Skip
    own: bool
    foreign: Mapping[Rpm, str]
    waiting: Mapping[Rpm, ExternalImage]
    plain: bool


class Contents:
    """What the changes mean for the content of the `images`, which are read one after another in their order.

    `rules` has the policy's rules about each change, by its place in `changes`.
    """

    def __init__(
        self, graph: Graph, images: Subgraph, changes: Sequence[Change], rules: Sequence[Sequence[Rule]],
        externals: Externals, installonly: tuple[str, ...],
    ) -> None:
        self._graph = graph
        self._images = images
        self._changes = changes
        self._rules = rules
        self._externals = externals
        self._installonly = installonly
        self._offers = {subject_of(change): place for place, change in enumerate(changes)}
        self._known: dict[tuple[str, Rpm], tuple[str, int] | Skip] = {}
        self._contents: list[Content] = []
        self._handed_on: dict[int, Content] = {}

    def read(self, key: str, rpms: Sequence[Rpm], bases: Sequence[int]) -> Content:
        """What the changes mean for the next image of the layers; `bases` are the numbers of its base images."""
        content = self._content(key, rpms, bases)
        self._contents.append(content)
        return content

    def through(self, number: int, rpm: Rpm) -> str:
        """The parent that hands the RPM on to the image of that number; "" where the image has it of its own."""
        if not self._contents[number].layers[rpm]:
            return ""
        bases = self._images.bases[number]
        return next(self._images.names[parent] for parent in bases if rpm in self._contents[parent].layers)

    def _content(self, key: str, rpms: Sequence[Rpm], bases: Sequence[int]) -> Content:
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

    def _alike(self, key: str, rpms: Sequence[Rpm], stream: str, above: Content) -> bool:
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

    def _read(self, key: str, rpms: Sequence[Rpm], stream: str, bases: Sequence[int]) -> Content:
        layers = self._layers(that_count(rpms, self._installonly), bases)
        above = [self._contents[base] for base in bases]
        foreign = rpm_streams.foreign(layers, stream, [ParentRef(one.rpms, one.stream, one.foreign) for one in above])
        stale, others = self._compare(key, stream, layers, foreign)
        lacking = self._lacking(key, stale, layers, above) if self._externals else {}
        stale, waiting = self._divide(key, stale, lacking) if lacking else (stale, {})
        otherwise = next((skip for skip in Skip if skip in others), Skip.UNKNOWN)
        reasons = tuple([item.reason for item in stale])
        own = "" in layers.values()
        return Content(
            rpms, stream, layers, tuple(stale), reasons, otherwise, own, foreign, waiting, plain=not lacking
        )

    def _compare(
        self, key: str, stream: str, layers: Mapping[Rpm, str], foreign: Mapping[Rpm, str]
    ) -> tuple[list[Stale], set[Skip]]:
        """The image's RPMs that are older than what is available, and why the others are not."""
        stale, others = list[Stale](), set[Skip]()
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
                stale.append(Stale(place, rpm, reason))
        return stale, others

    def _lacking(
        self, key: str, stale: Sequence[Stale], layers: Mapping[Rpm, str], above: Sequence[Content]
    ) -> dict[Rpm, ExternalImage]:
        """The external parents from which the image has old RPMs, and which have nothing newer, by the RPM."""
        image, parents = self._graph.image(key), dict[Rpm, ExternalImage]()
        for item in stale:
            if layers[item.rpm]:
                parent = next((one.waiting[item.rpm] for one in above if item.rpm in one.waiting), None)
            else:
                parent = self._externals.below(image, self._changes[item.place], item.rpm)
            if parent is not None:
                parents[item.rpm] = parent
        return parents

    def _divide(
        self, key: str, stale: Iterable[Stale], lacking: Mapping[Rpm, ExternalImage]
    ) -> tuple[list[Stale], dict[Rpm, ExternalImage]]:
        """What a rebuild can bring in, and what has to wait for an external parent."""
        image, kept, waiting = self._graph.image(key), list[Stale](), dict[Rpm, ExternalImage]()
        for item in stale:
            upgrades = self._externals.upgrades(image, self._rules[item.place]) if item.rpm in lacking else ""
            if item.rpm in lacking and not upgrades:
                waiting[item.rpm] = lacking[item.rpm]
            else:
                reason = replace(item.reason, upgrades=upgrades) if upgrades else item.reason
                kept.append(replace(item, reason=reason))
        return kept, waiting

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

    def _external(self, layer: str) -> str:
        parents = self._graph.image(layer).parents
        return next((p.external for p in parents if p.external and p.kind is ParentKind.BASE), "")
