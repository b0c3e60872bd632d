"""Counts that are kept as things happen, in the same transaction: history may be long, and need not be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Connection, select

from rebuilder.store.models import Tally
from rebuilder.store.rows import insert_of


@dataclass(frozen=True, slots=True)
class Counted:
    """How often something happened, and how many seconds that took in all."""

    count: int
    seconds: float = 0.0


def add(connection: Connection, counted: Mapping[str, Mapping[str, Counted]]) -> None:
    """Count these, by name and label. They are taken in order, so that two writers never wait for each other."""
    rows = [
        {"name": name, "label": label, "count": more.count, "seconds": more.seconds}
        for name, labels in sorted(counted.items())
        for label, more in sorted(labels.items())
    ]
    if rows:
        connection.execute(_upsert(connection.dialect.name), rows)


def one(connection: Connection, name: str, label: str) -> None:
    """Count one."""
    add(connection, {name: {label: Counted(1)}})


@cache
def _upsert(dialect: str) -> Any:
    new = insert_of(dialect)(Tally)
    more = {"count": Tally.count + new.excluded.count, "seconds": Tally.seconds + new.excluded.seconds}
    return new.on_conflict_do_update(index_elements=[Tally.name, Tally.label], set_=more)


def read(connection: Connection, name: str) -> dict[str, Counted]:
    """Everything counted under the name, by label."""
    rows = connection.execute(select(Tally.label, Tally.count, Tally.seconds).where(Tally.name == name))
    return {label: Counted(count, seconds) for label, count, seconds in rows}
