"""Traces: for each change of a wave that is finished, one tree of spans, from its message to its last promotion.

Made from the database once a wave is finished, so nothing is measured twice and nothing has to be remembered meanwhile.
A name that moves later, when an operator promotes it or a registry is back, is one more span of the same trace: what
identifies a span follows from what it tells of.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence

from msgspec import Struct, field

from rebuilder.domain.lifecycle import ENDED, State
from rebuilder.store.rebuild_progress import Step
from rebuilder.store.traces import FinishedWave, TracedChange

ENDS = frozenset(map(str, ENDED))


class Span(Struct, frozen=True):
    """A length of time, in seconds since the epoch, and what happened in it; `error` says why it ended badly.

    `delivery` is the number of the move of a name, where it tells of one.
    """

    name: str
    begin: float
    end: float
    attributes: dict[str, str] = field(default_factory=dict)
    error: str = ""
    inner: tuple[Span, ...] = ()
    delivery: int | None = None


class SpanId(Struct, frozen=True):
    """What names a span in all of the world: the same, whenever and by whichever process it is sent."""

    path: tuple[str, ...]

    def within(self, span: Span) -> SpanId:
        """The id of a span inside of this one."""
        return SpanId((*self.path, str(span.delivery or span.name)))

    @property
    def trace(self) -> int:
        """128 bits, from what the outermost span tells of."""
        return self._digest(self.path[:2], 16)

    @property
    def span(self) -> int:
        """64 bits, from where the span stands in its trace."""
        return self._digest(self.path, 8)

    @staticmethod
    def _digest(path: Sequence[str], size: int) -> int:
        return int.from_bytes(hashlib.blake2b("\n".join(path).encode(), digest_size=size).digest())


def identity(wave: FinishedWave) -> SpanId:
    """What the spans of a wave are named below. A wave that ended again has traces of its own."""
    return SpanId((f"{wave.id} {wave.begun} {wave.finished}",))


def of_wave(wave: FinishedWave) -> Iterator[Span]:
    """A trace for each change of the wave; one alone for a wave that an operator asked for."""
    stories: dict[str, list[Step]] = {}
    for step in wave.steps:
        stories.setdefault(step.image, []).append(step)
    rebuilds = tuple(_rebuild(image, story, wave) for image, story in stories.items())
    if not wave.changes:
        attributes, error = {"rebuilder.wave": str(wave.id)}, _worst(rebuilds)
        yield Span(f"wave {wave.id}", wave.begun, _end(wave), attributes, error, rebuilds)
    for change in wave.changes:
        yield _of_change(change, wave, rebuilds)


def _of_change(change: TracedChange, wave: FinishedWave, rebuilds: tuple[Span, ...]) -> Span:
    facts = {
        "rebuilder.change": change.build,
        "rebuilder.stream": change.stream,
        "rebuilder.severity": change.severity,
        "rebuilder.update": change.update,
        "messaging.message.id": change.message,
        "rebuilder.wave": str(wave.id),
    }
    begun = max(change.received, min(change.noticed, wave.begun))
    before = (Span("inbox", change.received, begun), Span("settling", begun, max(begun, wave.begun)))
    attributes = {name: value for name, value in facts.items() if value}
    name, end = f"{change.build} in {change.stream}", max(_end(wave), change.received)
    return Span(name, change.received, end, attributes, _worst(rebuilds), before + rebuilds)


def _end(wave: FinishedWave) -> float:
    """When the wave was finished, or the last name moved to a build of it, whichever was later."""
    return max([wave.finished, *(promotion.done for promotion in wave.promotions)])


def _rebuild(image: str, story: Sequence[Step], wave: FinishedWave) -> Span:
    """A rebuild: a span for each state that it was in, up to the one that it ended in."""
    last = story[-1]
    end = last.at if last.state in ENDS else wave.finished
    ends = [*(step.at for step in story[1:]), end]
    inner = tuple(
        Span(step.state, step.at, max(step.at, until), {"rebuilder.event": step.event})
        for step, until in zip(story, ends, strict=True)
        if step.state not in ENDS
    )
    inner += tuple(
        Span(
            f"promotion {promotion.name}", promotion.requested, max(promotion.requested, promotion.done),
            delivery=promotion.delivery,
        )
        for promotion in wave.promotions
        if promotion.image == image
    )
    error = (last.reason or last.state) if last.state in (State.FAILED, State.BLOCKED) else ""
    attributes = {"rebuilder.image": image, "rebuilder.outcome": last.state}
    return Span(f"rebuild {image}", story[0].at, max([end, *(span.end for span in inner)]), attributes, error, inner)


def _worst(rebuilds: Sequence[Span]) -> str:
    failed = [span.attributes["rebuilder.image"] for span in rebuilds if span.error]
    return f"not rebuilt: {', '.join(failed[:10])}" if failed else ""


def late(wave: FinishedWave, deliveries: Collection[int]) -> Iterator[tuple[SpanId, Span]]:
    """The spans of these moves of names, each with what names the rebuild that it belongs to, in each trace."""
    for root in of_wave(wave):
        for rebuild in root.inner:
            outer = identity(wave).within(root).within(rebuild)
            yield from ((outer, span) for span in rebuild.inner if span.delivery in deliveries)
