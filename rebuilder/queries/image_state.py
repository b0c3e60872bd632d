"""What an image is, as every answer says it: what it lacks, since when, and who keeps it so."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache

from sqlalchemy import Connection

from rebuilder.config import Settings
from rebuilder.domain.currency import Currency, ImageState, Offered
from rebuilder.domain.external import BaseMoved, Wait
from rebuilder.queries.answer import Answer
from rebuilder.queries.moment import Moment, moment
from rebuilder.store import image_states

TOLD = 20  # missing changes of an image in an answer
KEPT = 1000  # missing changes as answers


class MissingChange(Answer):
    """A change that an image lacks, since the moment at which it was noticed. `nvr` is its source build."""

    id: int
    nvr: str
    update: str | None
    severity: str
    type: str
    cves: tuple[str, ...]
    since: Moment


class MissingBase(Answer):
    """The digest that the image's external base has `since` then; its build stands on another, null where unknown."""

    spec: str
    digest: str
    stands_on: str | None
    since: Moment | None


class StateOfImage(Answer):
    """What an image is: `state` is current, stale, unknown, held or waiting, whatever became of its last rebuild.

    It lacks something `since` then, at worst of that `severity`; both are null where it lacks nothing. `missing` has
    the first of the `missing_count` changes that it lacks, the oldest first. `why` says who holds it, or what it waits
    for. `last_rebuild` is how its newest rebuild stands, null where it never had one. `base` is the digest of its
    external base that it does not stand on, where any new one counts; null for none.
    """

    state: str
    since: Moment | None
    severity: str | None
    missing: tuple[MissingChange, ...]
    missing_count: int
    why: str | None
    last_rebuild: str | None
    base: MissingBase | None = None


def read(
    connection: Connection, settings: Settings, now: float, keys: Collection[str] | None = None
) -> Mapping[str, ImageState]:
    """The state of every image of the inventory, or of these, by name."""
    return image_states.read(
        connection, now, installonly=settings.installonly, keys=keys, wait=Wait(settings.external),
        any_digest=counts_any_digest(settings),
    )


def counts_any_digest(settings: Settings) -> bool:
    """Whether an image is stale that does not stand on the present digest of its external base."""
    return settings.external_changes == "digest"


def fields(state: ImageState) -> dict[str, object]:
    """The fields of a StateOfImage."""
    return {
        "state": str(state.state), "since": moment(state.since),
        "severity": str(state.severity) if state.severity else None,
        "missing": tuple(missing(offered) for offered in state.missing[:TOLD]),
        "missing_count": len(state.missing), "why": state.why or None,
        "last_rebuild": state.last_rebuild or None, "base": missing_base(state.base) if state.base else None,
    }  # fmt: skip


def written(state: ImageState) -> dict[str, object]:
    """What an image is, as JSON has it."""
    return StateOfImage.model_validate(fields(state)).model_dump(mode="json")


def missing_base(moved: BaseMoved) -> MissingBase:
    """A base that is missing as an answer."""
    return MissingBase(
        spec=moved.base.spec, digest=moved.base.digest, stands_on=moved.at or None, since=moment(moved.since)
    )


@lru_cache(KEPT)
def missing(offered: Offered) -> MissingChange:
    """A change that is missing as an answer: one for all images that lack it."""
    change = offered.change
    return MissingChange(
        id=offered.id, nvr=change.build.nvr, update=change.update or None, severity=str(change.severity),
        type=change.type, cves=change.cves, since=moment(offered.since),
    )


def sentence(state: ImageState) -> str:
    """What an image is, in a few words for people."""
    by = " by " if state.state is Currency.HELD else " for "
    parts = [f"{state.state}{by}{state.why}" if state.why else str(state.state)]
    if state.state is Currency.HELD and not state.known:
        parts.append("its contents are unknown")
    if state.missing:
        parts.append(_lacks(state))
    if state.base:
        parts.append(str(state.base))
    return "; ".join(parts)


def _lacks(state: ImageState) -> str:
    lacks = ", ".join(dict.fromkeys(offered.change.build.nvr for offered in state.missing[:3]))
    more = f" and {len(state.missing) - 3} more" if len(state.missing) > 3 else ""
    severity = f" ({state.severity})" if state.severity and state.severity != "unspecified" else ""
    return f"lacks {lacks}{more}{severity}"
