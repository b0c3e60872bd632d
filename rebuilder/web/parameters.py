"""What requests may ask for: texts and numbers that the databases can hold, filters, and pages of lists."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from fastapi import Depends, Path, Query
from pydantic import AfterValidator, BaseModel, Field

from rebuilder.domain.change import Severity
from rebuilder.domain.currency import Currency
from rebuilder.domain.errors import RequestError
from rebuilder.domain.lifecycle import State
from rebuilder.store.filters import Filter, PageRequest
from rebuilder.store.waves import LARGEST

LIMIT, MOST = 50, 500
LONGEST = 255
Row = TypeVar("Row")
Item = TypeVar("Item")


def _storable(text: str) -> str:
    """PostgreSQL takes no NUL, and no encoding takes half of a surrogate pair."""
    if "\0" in text:
        raise ValueError("must not contain NUL")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("is no Unicode text") from None
    return text


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


Text = Annotated[str, Field(max_length=LONGEST), AfterValidator(_storable)]
When = Annotated[datetime, AfterValidator(_utc)]
Ident = Annotated[int, Path(ge=1, lt=LARGEST)]
ImageName = Annotated[str, Path(max_length=LONGEST, description="name:stream"), AfterValidator(_storable)]
SeverityWord = Literal["urgent", "high", "medium", "low", "unspecified"]
assert set(SeverityWord.__args__) == set(Severity)  # type: ignore[attr-defined]
RebuildState = Literal[
    "waiting", "queued", "submitting", "building", "succeeded", "failed", "blocked", "unneeded", "canceled"
]
assert set(RebuildState.__args__) == set(State)  # type: ignore[attr-defined]
ImageStateWord = Literal["unknown", "stale", "held", "waiting", "current"]
assert set(ImageStateWord.__args__) == set(Currency)  # type: ignore[attr-defined]


class Page(BaseModel, Generic[Item]):
    """A part of a list. `next` is the `cursor` of the part after it; null at the end."""

    items: list[Item]
    next: str | None


def page(
    limit: Annotated[int, Query(ge=1, le=MOST, description="How many at most.")] = LIMIT,
    cursor: Annotated[str | None, Query(max_length=1024, description="`next` of the part before.")] = None,
) -> PageRequest:
    """Which part of a list is asked for: one row more than is shown tells whether there are others."""
    return PageRequest(limit + 1, None if cursor is None else _read_cursor(cursor))


def _read_cursor(cursor: str) -> int | str:
    try:
        found = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        known = (isinstance(found, int) and -LARGEST < found < LARGEST) or (
            isinstance(found, str) and _storable(found) == found
        )
    except (binascii.Error, ValueError, RecursionError):
        known = False
    if not known:
        raise RequestError("cursor: it is none of ours")
    return found  # type: ignore[no-any-return]


def paginate(
    rows: Sequence[Row], part: PageRequest, show: Callable[[Row], Item], key: Callable[[Row], int | str]
) -> Page[Item]:
    """The rows as a page; `key` is what the order of the list goes by."""
    shown = rows[: part.limit - 1]
    more = len(rows) > len(shown)
    following = base64.urlsafe_b64encode(json.dumps(key(shown[-1])).encode()).decode() if more else None
    return Page(items=[show(row) for row in shown], next=following)


def since_until(
    since: Annotated[When | None, Query(description="At this moment or later; UTC unless it says otherwise.")] = None,
    until: Annotated[When | None, Query(description="Before this moment.")] = None,
) -> dict[str, float | None]:
    """The time that a list is narrowed to."""
    return {"since": since.timestamp() if since else None, "until": until.timestamp() if until else None}


def about(
    image: Annotated[Text, Query(description="A glob of the image's name or, with a colon, of name:stream.")] = "",
    stream: Annotated[Text, Query()] = "",
    package: Annotated[Text, Query(description="A source package.")] = "",
) -> dict[str, Any]:
    """The images that a list is narrowed to."""
    return {"image": image, "stream": stream, "package": package}


def changed(
    update: Annotated[Text, Query(description="The alias of an update.")] = "",
    severity: Annotated[tuple[SeverityWord, ...], Query()] = (),
) -> dict[str, Any]:
    """The changes that a list is narrowed to."""
    return {"update": update, "severities": severity}


Part = Annotated[PageRequest, Depends(page)]
Times = Annotated[dict[str, float | None], Depends(since_until)]
Images = Annotated[dict[str, Any], Depends(about)]
Changes = Annotated[dict[str, Any], Depends(changed)]


def build_filter(*parts: dict[str, Any], **more: Any) -> Filter:
    """One filter of these parts."""
    together: dict[str, Any] = {}
    for one in parts:
        together |= one
    return Filter(**together, **more)
