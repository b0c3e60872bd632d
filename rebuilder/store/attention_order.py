"""What needs attention, for the order of lists: that comes first, whatever is newer.

Within what needs attention, and within the rest, the newest is first: a list of a million rows is two short look-ups.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from msgspec.structs import replace
from sqlalchemy import ColumnElement, exists, select

from rebuilder.domain.errors import RequestError
from rebuilder.domain.lifecycle import State
from rebuilder.store.filters import PageRequest
from rebuilder.store.models import Action, Change, Message, Rebuild, Wave, WaveChange
from rebuilder.store.rebuilds import last_in

BY_HAND = (State.FAILED, State.CANCELED)
LONGEST = 10  # digits
MARK = "!"  # of a cursor within what needs attention

Row = TypeVar("Row")
Fetch = Callable[[PageRequest, ColumnElement[bool]], list[Row]]

_STOPPED = select(Rebuild.id, Rebuild.wave_id).where(last_in(BY_HAND)).subquery()
REBUILDS = Rebuild.id.in_(select(_STOPPED.c.id))  # the image's last one, which failed or was canceled
WAVES = (Wave.state == "planned") | Wave.id.in_(select(_STOPPED.c.wave_id))
CHANGES = exists().where(WaveChange.change_id == Change.id, WaveChange.wave_id == Wave.id, Wave.state == "planned")
MESSAGES = Message.state == "rejected"
ACTIONS = Action.done_at.is_(None)


def ordered(
    order: str, fetch: Callable[..., list[Row]], need: ColumnElement[bool], page: PageRequest,
    key: Callable[[Row], int],
) -> list[tuple[Row, int | str]]:
    """A part of a list by `need`, or the newest first; with each row what the part after it begins behind.

    Raises RequestError for a cursor of another order.
    """
    if order == "need":
        return first(fetch, need, page, key)
    if isinstance(page.after, str):
        raise RequestError("invalid cursor: it is of another order")
    return [(row, key(row)) for row in fetch(page)]


def first(fetch: Fetch[Row], need: ColumnElement[bool], page: PageRequest, key: Callable[[Row], int]) -> list[
    tuple[Row, int | str]
]:
    """A part of a list with what needs attention first; with each row what the part after it begins behind.

    `fetch` gives the rows of a page, the newest first, that meet a condition.
    """
    entries: list[tuple[Row, int | str]] = []
    within = page.after is None or isinstance(page.after, str)
    if within:
        rows = fetch(replace(page, after=_number(page.after)), need)
        entries = [(row, f"{MARK}{key(row)}") for row in rows]
    if len(entries) < page.limit:
        rest = PageRequest(page.limit - len(entries), None if within else page.after)
        entries += [(row, key(row)) for row in fetch(rest, ~need)]
    return entries


def _number(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    digits = cursor.removeprefix(MARK)
    if not cursor.startswith(MARK) or not digits.isascii() or not digits.isdigit() or len(digits) > LONGEST:
        raise RequestError("invalid cursor")
    return int(digits)
