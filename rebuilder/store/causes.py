"""Why rebuilds are there."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from rebuilder.domain.change import Change as ChangeValue
from rebuilder.domain.impact import Reason
from rebuilder.store import changes
from rebuilder.store.models import Cause, Change
from rebuilder.store.upsert import numbers

_CAUSES = (
    select(Cause.__table__)
    .where(Cause.rebuild_id.in_(numbers("rebuilds")))
    .order_by(Cause.change_id, Cause.installed)
)


def reasons_of(
    connection: Connection, rebuild_ids: Sequence[int], *, standing: bool = False
) -> dict[int, tuple[Reason, ...]]:
    """The reasons of each of these rebuilds, as their plans gave them; with `standing`, without withdrawn changes'."""
    rows = connection.execute(_CAUSES, {"rebuilds": rebuild_ids}).all()
    told = changes.of_ids(connection, {row.change_id for row in rows})
    found: dict[int, list[Reason]] = {}
    for row in rows:
        noticed = told[row.change_id]
        if standing and noticed.withdrawn:
            continue
        kind = "rpm" if row.installed else "parent"
        reason = Reason(kind, noticed.change, row.installed, row.inherited_from, row.external, row.compared,
                        row.upgrades)
        found.setdefault(row.rebuild_id, []).append(reason)
    return {ident: tuple(reasons) for ident, reasons in found.items()}


def messages_of(connection: Connection, rebuild_ids: Sequence[int]) -> dict[int, tuple[str, ...]]:
    """The ids of the messages that brought the changes of each of these rebuilds."""
    rows = connection.execute(
        select(Cause.rebuild_id, Change.message_id)
        .join(Change, Change.id == Cause.change_id)
        .where(Cause.rebuild_id.in_(rebuild_ids), Change.message_id.is_not(None))
        .order_by(Cause.rebuild_id, Change.id)
    )
    found: dict[int, dict[str, None]] = {}
    for rebuild_id, message in rows:
        found.setdefault(rebuild_id, {})[str(message)] = None
    return {ident: tuple(messages) for ident, messages in found.items()}


def changes_of(connection: Connection, rebuild_ids: Sequence[int]) -> dict[int, tuple[ChangeValue, ...]]:
    """The changes that each of these rebuilds takes up."""
    found = reasons_of(connection, rebuild_ids)
    return {ident: tuple(dict.fromkeys(reason.change for reason in reasons)) for ident, reasons in found.items()}
