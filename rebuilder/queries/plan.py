"""Plans as scripts read them, and back: a key is there only where it says something."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NotRequired, cast

from typing_extensions import TypedDict

from rebuilder.domain.change import Change, Severity
from rebuilder.domain.errors import UnreachableError
from rebuilder.domain.external import ExternalImage
from rebuilder.domain.image_name import stream_of
from rebuilder.domain.impact import Reason, Skip, Skipped
from rebuilder.domain.plan import Plan, PlannedRebuild, Rebuilds, RuleOutcome
from rebuilder.domain.policy import Action
from rebuilder.domain.reasons import WrittenReason, reason_of, written_reason
from rebuilder.domain.rpm import EVR, SourceBuild
from rebuilder.domain.schedule import Estimate
from rebuilder.queries.moment import written_moment


class WrittenChange(TypedDict):
    """A source build that is new in a stream."""

    source: str
    evr: str
    stream: str
    severity: str


class PlannedReason(WrittenReason):
    """A reason in a plan. `source` and `stream` tell its change where `available` is no change of the image's stream
    alone: where two packages have the same version and release, or the change is one of another stream.
    """

    source: NotRequired[str]
    stream: NotRequired[str]


class ToldReason(WrittenReason):
    """A reason with the change that it is about, and the update that brought that."""

    change: WrittenChange
    update: str | None
    url: str | None


@dataclass(frozen=True, slots=True)
class WrittenRebuild(PlannedRebuild[PlannedReason]):
    """An image to rebuild, after its `depends_on`."""

    reasons: tuple[PlannedReason, ...]


class WrittenParent(TypedDict):
    """The external parent that an image waits for, and since when it has its digest.

    `pin` is the digest to pin in place of that, where the source names a digest.
    """

    spec: str
    digest: str
    since: str | None
    pin: NotRequired[str]


class WrittenSkip(TypedDict):
    """An image that is left out; `by` where somebody or something is named, `parent` for one that it waits for."""

    image: str
    reason: str
    by: NotRequired[str]
    parent: NotRequired[WrittenParent]


class WrittenEstimate(TypedDict):
    """Seconds until all is built, the longest chain of builds, and the sum of all builds."""

    makespan_s: float
    critical_path: list[str]
    work_s: float
    slots: int


class WrittenRule(TypedDict):
    """A rule that had a say: it left out `images`, or wants `change` to be approved."""

    rule: str
    action: str
    images: NotRequired[int]
    change: NotRequired[WrittenChange]


class WrittenPlan(TypedDict):
    """What accepting the changes would do, parents first."""

    changes: list[WrittenChange]
    rebuilds: list[WrittenRebuild]
    skipped: list[WrittenSkip]
    untouched: int
    estimate: WrittenEstimate
    policy: NotRequired[list[WrittenRule]]


def written(plan: Plan) -> WrittenPlan:
    """The plan as scripts read it."""
    offers = _offers(plan.changes)
    answer: WrittenPlan = {
        "changes": [written_change(change) for change in plan.changes],
        "rebuilds": [
            WrittenRebuild(
                rebuild.image, rebuild.depends_on, rebuild.level,
                tuple(_planned_reason(reason, rebuild.image, offers) for reason in rebuild.reasons),
            )
            for rebuild in plan.rebuilds
        ],
        "skipped": [_written_skip(skipped) for skipped in plan.skipped],
        "untouched": plan.untouched,
        "estimate": {
            "makespan_s": plan.estimate.makespan_s,
            "critical_path": list(plan.estimate.critical_path),
            "work_s": plan.estimate.work_s,
            "slots": plan.estimate.slots,
        },
    }
    if plan.applied:
        answer["policy"] = [_written_rule(applied) for applied in plan.applied]
    return answer


def written_change(change: Change) -> WrittenChange:
    """A change as scripts read it."""
    return {"source": change.build.name, "evr": str(change.build.evr), "stream": change.stream,
            "severity": str(change.severity)}


Offers = Mapping[tuple[str, str], Sequence[Change]]


def _offers(changes: Iterable[Change]) -> Offers:
    """The changes by what names most of them: stream, and version and release."""
    offers: dict[tuple[str, str], list[Change]] = {}
    for change in changes:
        offers.setdefault((change.stream, change.build.evr.version_release), []).append(change)
    return offers


def _planned_reason(reason: Reason, image: str, offers: Offers) -> PlannedReason:
    change = reason.change
    planned = cast("PlannedReason", written_reason(reason))
    stream = stream_of(image)
    if list(offers.get((stream, change.build.evr.version_release), ())) != [change]:
        planned |= {"source": change.build.name, "stream": change.stream}
    return planned


def _change_of(reason: PlannedReason, image: str, offers: Offers) -> Change:
    """The change that a reason of the plan is about. Raises UnreachableError where the plan has no such change."""
    changes = offers.get((reason.get("stream", stream_of(image)), reason["available"]), ())
    source = reason.get("source")
    for change in changes:
        if source in (None, change.build.name):
            return change
    raise UnreachableError(f"unexpected answer: a reason of {image} is about no change of the plan")


def told_reason(reason: Reason) -> ToldReason:
    """A reason with its change as scripts read it."""
    about = reason.change
    return {**written_reason(reason), "change": written_change(about), "update": about.update or None,
            "url": about.url or None}


def _written_skip(skipped: Skipped) -> WrittenSkip:
    skip: WrittenSkip = {"image": skipped.image, "reason": str(skipped.reason)}
    if skipped.by:
        skip["by"] = skipped.by
    if skipped.parent is not None:
        skip["parent"] = written_parent(skipped.parent)
    return skip


def written_parent(parent: ExternalImage) -> WrittenParent:
    """An external parent as scripts read it."""
    fields: WrittenParent = {"spec": parent.spec, "digest": parent.digest, "since": written_moment(parent.since)}
    if parent.offered:
        fields["pin"] = parent.offered
    return fields


def _written_rule(applied: RuleOutcome) -> WrittenRule:
    if applied.change is None:
        return {"rule": applied.rule, "action": str(applied.action), "images": applied.images}
    return {"rule": applied.rule, "action": str(applied.action), "change": written_change(applied.change)}


def read(document: WrittenPlan) -> Plan:
    """The plan that a server wrote."""
    changes = tuple(change_of(change) for change in document["changes"])
    offers = _offers(changes)
    estimate = document["estimate"]
    return Plan(
        changes,
        _rebuilds(document["rebuilds"], offers),
        tuple(
            Skipped(s["image"], Skip(s["reason"]), s.get("by", ""), _parent_of(s["parent"]) if "parent" in s else None)
            for s in document["skipped"]
        ),
        document["untouched"],
        tuple(
            RuleOutcome(rule["rule"], Action(rule["action"]), rule.get("images", 0),
                    change_of(rule["change"]) if "change" in rule else None)
            for rule in document.get("policy", [])
        ),
        Estimate(estimate["makespan_s"], tuple(estimate["critical_path"]), estimate["work_s"], estimate["slots"]),
    )


def _parent_of(document: WrittenParent) -> ExternalImage:
    since, pin = document["since"], document.get("pin", "")
    began = datetime.fromisoformat(since).timestamp() if since else None
    return ExternalImage(document["spec"], document["digest"], began, pinned=bool(pin), offered=pin)


def _rebuilds(rebuilds: Sequence[WrittenRebuild], offers: Offers) -> Rebuilds:
    number = {rebuild.image: at for at, rebuild in enumerate(rebuilds)}
    return Rebuilds(
        list(number),
        [[number[parent] for parent in rebuild.depends_on] for rebuild in rebuilds],
        [rebuild.level for rebuild in rebuilds],
        [_reasons(rebuild, offers) for rebuild in rebuilds],
    )


def _reasons(rebuild: WrittenRebuild, offers: Offers) -> tuple[Reason, ...]:
    return tuple(reason_of(reason, _change_of(reason, rebuild.image, offers)) for reason in rebuild.reasons)


def change_of(document: WrittenChange) -> Change:
    """The change that a server wrote."""
    version_release = document["evr"].rpartition(":")
    version, _, release = version_release[2].rpartition("-")
    epoch = int(version_release[0]) if version_release[0] else None
    build = SourceBuild(document["source"], EVR(epoch, version, release))
    return Change(build, document["stream"], Severity(document["severity"]))


def told_by(document: ToldReason) -> Reason:
    """The reason that a server wrote with its change."""
    change = change_of(document["change"])
    about = Change(change.build, change.stream, change.severity, document["update"] or "", document["url"] or "")
    return reason_of(document, about)
