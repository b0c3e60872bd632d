"""Why rebuilds are there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select

from rebuilder.domain.change import Change as ChangeValue
from rebuilder.domain.impact import Reason
from rebuilder.store import changes
from rebuilder.store.models import Cause, Change
from rebuilder.store.upsert import numbers

_CAUSES = (
    select(
        Cause.rebuild_id, Cause.change_id, Cause.installed, Cause.inherited_from, Cause.external, Cause.compared,
        Cause.upgrades,
    )
    .where(Cause.rebuild_id.in_(numbers("rebuilds")))
    .order_by(Cause.change_id, Cause.installed)
)


def reasons_of(
    connection: Connection, rebuild_ids: Sequence[int], *, standing: bool = False
) -> dict[int, tuple[Reason, ...]]:
    """The reasons of each of these rebuilds, as their plans gave them; with `standing`, without withdrawn changes'."""
    rows: Sequence[Sequence[Any]] = connection.execute(_CAUSES, {"rebuilds": rebuild_ids}).all()
    by_id = changes.of_ids(connection, {change_id for _, change_id, *_ in rows})
    by_rebuild: dict[int, list[Reason]] = {}
    alike: dict[tuple[Any, ...], Reason] = {}  # most rebuilds of a wave have the very same
    for row in rows:
        rebuild_id, change_id, installed, *rest = row
        noticed = by_id[change_id]
        if standing and noticed.withdrawn:
            continue
        if (same := tuple(row[1:])) not in alike:
            alike[same] = Reason("rpm" if installed else "parent", noticed.change, installed, *rest)
        by_rebuild.setdefault(rebuild_id, []).append(alike[same])
    return {ident: tuple(reasons) for ident, reasons in by_rebuild.items()}


def messages_of(connection: Connection, rebuild_ids: Sequence[int]) -> dict[int, tuple[str, ...]]:
    """The ids of the messages that brought the changes of each of these rebuilds."""
    rows = connection.execute(
        select(Cause.rebuild_id, Change.message_id)
        .join(Change, Change.id == Cause.change_id)
        .where(Cause.rebuild_id.in_(rebuild_ids), Change.message_id.is_not(None))
        .order_by(Cause.rebuild_id, Change.id)
    )
    by_rebuild: dict[int, dict[str, None]] = {}
    for rebuild_id, message in rows:
        by_rebuild.setdefault(rebuild_id, {})[str(message)] = None
    return {ident: tuple(messages) for ident, messages in by_rebuild.items()}


def changes_of(connection: Connection, rebuild_ids: Sequence[int]) -> dict[int, tuple[ChangeValue, ...]]:
    """The changes that each of these rebuilds takes up."""
    by_rebuild = reasons_of(connection, rebuild_ids)
    return {ident: tuple(dict.fromkeys(reason.change for reason in reasons)) for ident, reasons in by_rebuild.items()}
