"""Moments in answers: in UTC, to the millisecond, so that what went through JSON is what it was."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, overload

from pydantic import PlainSerializer, WithJsonSchema

from rebuilder.domain.times import written, written_seconds


def written_moment(seconds: float | None) -> str | None:
    """Seconds since the epoch as JSON has them."""
    return None if seconds is None else written_seconds(seconds)


Moment = Annotated[
    datetime, PlainSerializer(written, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]


@overload
def moment(seconds: float) -> datetime: ...
@overload
def moment(seconds: None) -> None: ...
@overload
def moment(seconds: float | None) -> datetime | None: ...
def moment(seconds: float | None) -> datetime | None:
    """Seconds since the epoch as an answer has them."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(round(seconds * 1000) / 1000, UTC)
