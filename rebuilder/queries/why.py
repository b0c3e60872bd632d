"""Why an image was rebuilt, why it was not, and whether an update would rebuild it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from rebuilder.config import Settings
from rebuilder.domain.currency import ImageState
from rebuilder.domain.external import ExternalDigest
from rebuilder.domain.policy import keeping_from_bases
from rebuilder.domain.reasons import WrittenReason, written_reason
from rebuilder.engine import why as explaining
from rebuilder.engine.plan_preview import AskedUpdates
from rebuilder.engine.why import Told, Verdict
from rebuilder.queries import image_state, packages, pending
from rebuilder.queries.answer import Answer
from rebuilder.queries.image_state import MissingBase, StateOfImage
from rebuilder.queries.moment import Moment, moment
from rebuilder.queries.pending import Pending
from rebuilder.queries.plan import (
    ToldReason,
    WrittenChange,
    WrittenParent,
    told_reason,
    written_change,
    written_parent,
)
from rebuilder.queries.plan_preview import streams
from rebuilder.queries.rebuild import Rebuild, columns
from rebuilder.store import bases, inventory, search


class Hold(Answer):
    """Who holds the image since when, and why."""

    who: str
    reason: str
    since: Moment


class NewBase(Answer):
    """An external parent, and the digest of it that a rebuild is there for."""

    spec: str
    digest: str


class OldBase(MissingBase):
    """The base's new digest that the image does not stand on. A `rule` may keep it from being rebuilt by itself."""

    rule: str | None


class ToldRebuild(Rebuild):
    """A rebuild of the image, what it was for, and the messages that told of that; `bases` are new digests of parents.

    `why` is its `reason`, and `planned` is when it was `created`: scripts know them under these names, too.
    """

    why: str
    planned: Moment
    reasons: tuple[ToldReason, ...]
    bases: tuple[NewBase, ...] = ()
    messages: tuple[str, ...]


class Approval(Answer):
    """The rule that asks for an approval, and the wave that waits for it, where there is one."""

    rule: str
    wave: int | None


class VerdictOnChange(Answer):
    """What a change means for the image: `rebuild`, `not-installed`, or why it is left out; `by` is what that names.

    `installed` has the image's RPMs of the package, there unchanged `since` then, where that is known. `parent` is the
    external parent that it waits for. A change that is not planned yet `waits` for something, `until` then at the most.
    """

    change: WrittenChange
    update: str | None
    verdict: str
    by: str | None
    reasons: tuple[WrittenReason, ...]
    depends_on: tuple[str, ...]
    installed: tuple[str, ...]
    since: Moment | None
    approval: Approval | None
    parent: WrittenParent | None = None
    waits: str | None = None
    until: Moment | None = None


class Why(StateOfImage):
    """What the image is, its last rebuilds, newest first, and what the changes that did not rebuild it mean for it.

    `externals` has the external parents that its build stands on, by what its file calls them: pull specs by digest.
    `rolled_back` says which build of its parent it stands on, where that was taken back, and `taken_back` which build
    of its own was, since when an earlier one is current. `base` is the digest of its external base that it does not
    stand on, where any new one counts.
    """

    image: str
    build: str | None
    externals: dict[str, str]
    rolled_back: str | None
    taken_back: str | None
    held: Hold | None
    rebuilds: tuple[ToldRebuild, ...]
    not_rebuilt: tuple[VerdictOnChange, ...]
    base: OldBase | None = None


class WhatIf(Answer):
    """What updates would mean for the image."""

    image: str
    verdicts: tuple[VerdictOnChange, ...]


def read(connection: Connection, image: str, settings: Settings, now: float) -> Why:
    """All there is to say about the image. Raises UnknownError where there is no such image."""
    streams(connection, settings)
    image = search.image_named(connection, image)
    explanation = explaining.why(connection, image, settings, now)
    state, held = image_state.read(connection, settings, now, [image])[image], explanation.held
    waits = {(item.change, item.stream): item for item in pending.read(connection, settings, explaining.RECENT_CHANGES)}
    build = explanation.build
    return Why.model_validate({
        **image_state.fields(state), "base": _base(connection, state, settings), "image": image,
        "build": build.ident if build else None,
        "externals": {parent.spec: parent.at for parent in build.externals} if build else {},
        "rolled_back": str(explanation.rolled_back) if explanation.rolled_back else None,
        "taken_back": str(explanation.taken_back) if explanation.taken_back else None,
        "held": Hold(who=held.who, reason=held.reason, since=moment(held.since)) if held else None,
        "rebuilds": _rebuilds(connection, explanation.rebuilds),
        "not_rebuilt": tuple(_waiting(verdict(other), waits) for other in explanation.others),
    })


def _base(connection: Connection, state: ImageState, settings: Settings) -> OldBase | None:
    if state.base is None:
        return None
    rule = keeping_from_bases(settings.terms({}).rules, inventory.find(connection, [state.image])[state.image])
    base = image_state.missing_base(state.base).model_dump()
    return OldBase(**base, rule=rule.name if rule else None)


def _rebuilds(connection: Connection, rebuilds: Sequence[Told]) -> tuple[ToldRebuild, ...]:
    new = bases.causes_of(connection, [rebuild.entry.id for rebuild in rebuilds])
    return tuple(_told(rebuild, new.get(rebuild.entry.id, ())) for rebuild in rebuilds)


def what_if(
    connection: Connection, image: str, updates: AskedUpdates, settings: Settings, now: float
) -> WhatIf:
    """What these updates would mean for the image. Raises RequestError."""
    changes = packages.changes_named(connection, updates, settings)
    image = search.image_named(connection, image)
    verdicts = explaining.what_if(connection, image, changes, settings, now)
    return WhatIf(image=image, verdicts=tuple(map(verdict, verdicts)))


def _waiting(answer: VerdictOnChange, waits: Mapping[tuple[str, str], Pending]) -> VerdictOnChange:
    """The verdict with what the change waits for, where it is not planned yet."""
    change = answer.change
    item = waits.get((f"{change['source']}-{change['evr']}", change["stream"]))
    return answer.model_copy(update={"waits": item.waits, "until": item.until}) if item else answer


def _told(rebuild: Told, new: Sequence[ExternalDigest]) -> ToldRebuild:
    entry = rebuild.entry
    return ToldRebuild.model_validate({
        **columns(entry), "why": entry.reason, "planned": moment(entry.created_at),
        "reasons": tuple(told_reason(reason) for reason in rebuild.reasons), "messages": rebuild.messages,
        "bases": tuple(NewBase(spec=base.spec, digest=base.digest) for base in new),
    })


def verdict(decision: Verdict) -> VerdictOnChange:
    """A verdict of the engine's as an answer."""
    return VerdictOnChange(
        change=written_change(decision.change), update=decision.change.update or None, verdict=decision.word,
        by=decision.by or None, reasons=tuple(written_reason(reason) for reason in decision.reasons),
        depends_on=decision.depends_on, installed=decision.installed, since=moment(decision.since),
        approval=Approval(rule=decision.rule, wave=decision.wave) if decision.rule else None,
        parent=written_parent(decision.parent) if decision.parent else None,
    )
