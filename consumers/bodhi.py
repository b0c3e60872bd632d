"""Bodhi's messages: an update has reached its repository, or was taken back."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from consumers.fields import LONGEST_URL, Fields
from rebuilder.domain.change import AvailableBuild, BuildUntagged, Event, Ignored, Severity, cves_in
from rebuilder.domain.rpm import SourceBuild

OF_RPMS = ("", "rpm", "base")
MOST_CVES = 500  # of one update; those of the largest, a browser's, are a few dozen


def stable(body: Any) -> tuple[Event, ...]:
    """An update is in the stable repository: composed, signed and synced, so its RPMs can be installed now."""
    return update(body, testing=False)


def testing(body: Any) -> tuple[Event, ...]:
    """An update is in the testing repository."""
    return update(body, testing=True)


def update(body: Any, *, testing: bool) -> tuple[Event, ...]:
    """One offer for each build of the update. Raises InvalidMessage."""
    fields = Fields(body).inner("update")
    if other := of_other_things(fields):
        return (other,)
    alias = fields.text("alias")
    release = fields.inner("release").text("name")
    offers = tuple(
        AvailableBuild(
            build=offered(build),
            bodhi_release=release,
            testing=testing,
            severity=severity_of(fields),
            update=alias,
            url=url_of(fields),
            type=fields.optional_text("type"),
            cves=cves_of(fields),
        )
        for build in of_rpms(fields)
    )
    return offers or (Ignored(f"update {alias} has no builds of RPMs"),)


def withdrawn(body: Any) -> tuple[Event, ...]:
    """An update was unpushed, or a newer one made it obsolete: its builds are withdrawn. Raises InvalidMessage."""
    fields = Fields(body).inner("update")
    if other := of_other_things(fields):
        return (other,)
    alias, release = fields.text("alias"), fields.inner("release").text("name")
    builds = [offered(build) for build in of_rpms(fields)]
    taken = tuple(BuildUntagged(build, update=alias, bodhi_release=release) for build in builds)
    return taken or (Ignored(f"update {alias} has no builds of RPMs"),)


def of_other_things(fields: Fields) -> Ignored | None:
    """Why an update is of no interest that brings no RPMs."""
    kind = fields.optional_text("content_type").lower()
    return None if kind in OF_RPMS else Ignored(f"an update of content type {kind}, not of RPMs")


def of_rpms(fields: Fields) -> list[Fields]:
    """The update's builds of RPMs: those of modules, flatpaks and containers have names like theirs, and are none."""
    return [build for build in fields.inners("builds") if build.optional_text("type").lower() in ("", "rpm")]


def offered(fields: Fields) -> SourceBuild:
    """The build, with its epoch only where that is not 0: Bodhi fills in 0 for every epoch it does not know."""
    build = fields.nvr()
    return replace(build, evr=replace(build.evr, epoch=fields.epoch() or None))


def severity_of(fields: Fields) -> Severity:
    """The update's severity; unspecified where Bodhi names none that we know."""
    try:
        return Severity(fields.optional_text("severity").lower())
    except ValueError:
        return Severity.UNSPECIFIED


def cves_of(fields: Fields) -> tuple[str, ...]:
    """The CVEs that the update fixes. Bodhi has no field for them: titles of bugs and its texts name them."""
    bugs = fields.optional_inners("bugs")
    texts = [fields.prose(key) for key in ("title", "display_name", "notes")]
    return cves_in(*(bug.prose("title") for bug in bugs), *texts)[:MOST_CVES]


def url_of(fields: Fields) -> str:
    """The update's page; empty unless it is a web address, because it is shown as a link."""
    url = fields.optional_text("url", LONGEST_URL)
    return url if url.startswith(("https://", "http://")) else ""
