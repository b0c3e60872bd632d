"""What requests may ask for: texts and numbers that the databases can hold, filters, and pages of lists."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from fastapi import Depends, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from rebuilder.domain.change import Severity
from rebuilder.domain.currency import Currency
from rebuilder.domain.errors import RequestError
from rebuilder.domain.lifecycle import State
from rebuilder.queries import names, packages
from rebuilder.store.filters import Filter, PageRequest
from rebuilder.store.waves import LARGEST
from rebuilder.web.csv_lists import wants_csv
from rebuilder.web.dependencies import Configured, Reader

LIMIT, MOST = 50, 500
MOST_CSV = 10_000
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
        raise ValueError("is not Unicode text") from None
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
    "waiting", "queued", "submitting", "building", "testing", "succeeded", "failed", "blocked", "unneeded",
    "canceled",
]
assert set(RebuildState.__args__) == set(State)  # type: ignore[attr-defined]
ImageStateWord = Literal["unknown", "stale", "held", "waiting", "current"]
assert set(ImageStateWord.__args__) == set(Currency)  # type: ignore[attr-defined]


def _given(words: object) -> object:
    """A form that is sent with nothing chosen says so with an empty word."""
    return [word for word in words if word != ""] if isinstance(words, list) else words


Given = BeforeValidator(_given)
RebuildStates = Annotated[tuple[RebuildState, ...], Given, Query(description="The rebuild's state.")]
ImageStates = Annotated[tuple[ImageStateWord, ...], Given, Query(description="What the image is.")]
WaveStates = Annotated[
    tuple[Literal["planned", "running", "finished"], ...], Given, Query(description="The wave's state.")
]
ChangeState = Annotated[tuple[Literal["settling", "planned", "withdrawn"], ...], Given, Query(
    description="`settling` until a plan is made; `withdrawn` where it is not available any more.")]
MessageStates = Annotated[tuple[Literal["new", "accepted", "ignored", "rejected"], ...], Given, Query(
    description="What became of the message.")]
WaveNumber = Annotated[
    Annotated[int, Field(ge=1, lt=LARGEST)] | None, BeforeValidator(lambda text: text or None),
    Query(description="The number of a wave.", examples=[7]),
]


Cursor = Annotated[str | None, Query(max_length=1024, description="`next` of the part before.")]


class Page(BaseModel, Generic[Item]):
    """A part of a list. `next` is the `cursor` of the part after it; null at the end."""

    items: list[Item]
    next: str | None


Form = Annotated[
    Literal["json", "csv"] | None,
    Query(alias="format", description="Default: what the header `Accept` says, else JSON."),
]


def page(
    request: Request,
    limit: Annotated[int | None, Query(
        ge=1, le=MOST_CSV, examples=[LIMIT],
        description=f"How many rows at most: up to {MOST}, by default {LIMIT}; as CSV up to {MOST_CSV}, which is the "
        "default there.",
    )] = None,
    cursor: Cursor = None,
    _form: Form = None,
) -> PageRequest:
    """Which part of a list is asked for: one row more than is shown tells whether there are others."""
    most, default = (MOST_CSV, MOST_CSV) if wants_csv(request) else (MOST, LIMIT)
    if limit is not None and limit > most:
        message = f"Input should be less than or equal to {most}; CSV has up to {MOST_CSV}"
        raise RequestValidationError([{"type": "less_than_equal", "loc": ("query", "limit"), "msg": message}])
    return PageRequest((limit or default) + 1, None if cursor is None else read_cursor(cursor))


def read_cursor(cursor: str) -> int | str:
    """Where a part of a list begins, from its cursor. Raises RequestError for one that no answer gave."""
    try:
        position = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        valid = (isinstance(position, int) and -LARGEST < position < LARGEST) or (
            isinstance(position, str) and _storable(position) == position
        )
    except (binascii.Error, ValueError, RecursionError):
        valid = False
    if not valid:
        raise RequestError("invalid cursor: give `next` of the part before")
    return position  # type: ignore[no-any-return]


def paginate(
    rows: Sequence[tuple[Row, int | str]], part: PageRequest, show: Callable[[Row], Item]
) -> Page[Item]:
    """The rows as a page; beside each is what the part after it begins behind."""
    shown = [show(row) for row, _ in rows[: part.limit - 1]]
    return Page(items=shown, next=cursor_of(rows, part, lambda row: row[1]))


def cursor_of(rows: Sequence[Row], part: PageRequest, key: Callable[[Row], int | str]) -> str | None:
    """Where the part after these rows begins; None where there is none."""
    if len(rows) < part.limit:
        return None
    return base64.urlsafe_b64encode(json.dumps(key(rows[part.limit - 2])).encode()).decode()


def since_until(
    since: Annotated[When | None, Query(description="At this moment or later; UTC unless it says otherwise.")] = None,
    until: Annotated[When | None, Query(description="Before this moment.")] = None,
) -> dict[str, float | None]:
    """The time that a list is filtered by. Raises RequestError where there is none between."""
    if since and until and until <= since:
        raise RequestError("until: is not after since")
    return {"since": since.timestamp() if since else None, "until": until.timestamp() if until else None}


def in_stream(
    connection: Reader, settings: Configured,
    stream: Annotated[Text, Query(description="The stream.", examples=["f42"])] = "",
) -> str:
    """The stream that a list is filtered by. Raises RequestError for one that nothing was ever in."""
    names.check_stream(connection, stream, settings)
    return stream


InStream = Annotated[str, Depends(in_stream)]


def in_wave(connection: Reader, wave: WaveNumber = None) -> int | None:
    """The wave that a list is filtered by. Raises RequestError for one that is not there."""
    names.check_wave(connection, wave)
    return wave


InWave = Annotated[int | None, Depends(in_wave)]


def about(
    connection: Reader,
    stream: InStream,
    image: Annotated[Text, Query(
        description="A glob of the image's name or, with a colon, of name:stream.", examples=["httpd*"])] = "",
    package: Annotated[Text, Query(description="A source package.", examples=["openssl"])] = "",
    owner: Annotated[Text, Query(description="Whoever looks after the image.", examples=["web-sig"])] = "",
) -> dict[str, Any]:
    """The images that a list is filtered by. Raises RequestError for a name that nothing has, with what is meant."""
    names.check_image(connection, image)
    names.check_owner(connection, owner)
    packages.check(connection, package)
    return {"image": image, "stream": stream, "package": package, "owner": owner}


def changed(
    connection: Reader,
    update: Annotated[Text, Query(description="The alias of an update, the id of a CVE, or the NVR of a source build.",
                                  examples=["CVE-2026-31337"])] = "",
    severity: Annotated[tuple[SeverityWord, ...], Given, Query(description="The severity.")] = (),
) -> dict[str, Any]:
    """The changes that a list is filtered by. Raises RequestError for an update that nothing told of."""
    packages.check_update(connection, update)
    return {"update": update, "severities": severity}


def binary(
    connection: Reader,
    rpm: Annotated[Text, Query(description="A binary package, by its name.", examples=["openssl-libs"])] = "",
) -> str:
    """The binary package that a list is filtered by. Raises RequestError for one that no image carries."""
    packages.check_rpm(connection, rpm)
    return rpm


BinaryPackage = Annotated[str, Depends(binary)]
Order = Annotated[Literal["newest", "need"], Query(
    description="`newest`: the newest first. `need`: what needs attention first, then the newest.")]
Search = Annotated[Text, Query(
    description="A part of what a row says of itself, in any case; or a pattern with `*` and `?`.", examples=["php"])]
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
