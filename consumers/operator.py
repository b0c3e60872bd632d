"""What an operator says is out, by `rebuilder update`: a message of our own, for when none came from Bodhi or Koji."""

from __future__ import annotations

from typing import Any

from consumers.bodhi import severity_of
from consumers.fields import Fields
from rebuilder.domain.change import AvailableBuild, Event, InvalidMessage, cves_in
from rebuilder.domain.errors import RequestError
from rebuilder.domain.rpm import SourceBuild


def available(body: Any) -> tuple[Event, ...]:
    """One offer for each build, in the stream that the operator means. Raises InvalidMessage."""
    fields = Fields(body)
    cves = cves_in(fields.prose("cves"))
    return tuple(
        AvailableBuild(
            build=_build(one), stream=one.text("stream"), severity=severity_of(fields),
            update=fields.optional_text("alias"), type="security" if cves else "", cves=cves,
        )
        for one in fields.inners("builds")
    )  # fmt: skip


def _build(fields: Fields) -> SourceBuild:
    try:
        return SourceBuild.parse(fields.text("nvr"))
    except InvalidMessage:
        raise
    except RequestError as error:
        raise InvalidMessage(f"{fields.name_of('nvr')}: {error}") from None
