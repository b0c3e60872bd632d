"""Counts that are kept as things happen, in the same transaction: history may be long, and need not be read."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, select

from rebuilder.store.models import Tally
from rebuilder.store.upsert import insert_of


class StoredCounter(Struct, frozen=True):
    """How often something happened, and how many seconds that took in all."""

    count: int
    seconds: float = 0.0


# Upper bounds in seconds of what is kept as a histogram. To change one begins its count anew, so they stay.
BUCKETS: dict[str, tuple[float, ...]] = {
    "builder": (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
    "plan": (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    "wave": (60, 300, 900, 1800, 3600, 7200, 14400, 28800, 57600, 86400, 172800, 345600),
}


def bucket_label(label: str, bound: float) -> str:
    """Under which label what took up to `bound` seconds, and longer than the bound before, is counted."""
    return f"{label} {bound:g}"


def buckets_of(name: str) -> str:
    """The name under which the buckets of a histogram are counted, beside its sum."""
    return f"{name}-le"


def timed(name: str, label: str, seconds: float) -> dict[str, dict[str, StoredCounter]]:
    """What is to be added where something took so many seconds: its sum, and its bucket."""
    total = {name: {label: StoredCounter(1, seconds)}}
    bound = next((bound for bound in BUCKETS.get(name, ()) if seconds <= bound), None)
    return total if bound is None else total | {buckets_of(name): {bucket_label(label, bound): StoredCounter(1)}}


def add(connection: Connection, counted: Mapping[str, Mapping[str, StoredCounter]]) -> None:
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
    add(connection, {name: {label: StoredCounter(1)}})


@cache
def _upsert(dialect: str) -> Any:
    new = insert_of(dialect)(Tally)
    more = {"count": Tally.count + new.excluded.count, "seconds": Tally.seconds + new.excluded.seconds}
    return new.on_conflict_do_update(index_elements=[Tally.name, Tally.label], set_=more)


def read(connection: Connection, name: str) -> dict[str, StoredCounter]:
    """Everything counted under the name, by label."""
    rows = connection.execute(select(Tally.label, Tally.count, Tally.seconds).where(Tally.name == name))
    return {label: StoredCounter(count, seconds) for label, count, seconds in rows}
