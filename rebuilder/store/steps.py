"""The steps of rebuilds through the lifecycle: what each changes, recorded and announced in one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from rebuilder.domain import lifecycle
from rebuilder.domain.lifecycle import Effect, Event, State
from rebuilder.store import outbox, tallies
from rebuilder.store.models import Rebuild, Transition
from rebuilder.store.outbox import News
from rebuilder.store.rebuilds import Entry
from rebuilder.store.tallies import Counted

_RECORD = insert(Transition)


@dataclass(frozen=True, slots=True)
class Move:
    """An event that happens to a rebuild: for what reason, by which operator, and which columns it sets besides."""

    entry: Entry
    event: Event
    reason: str = ""
    who: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)


def move(
    connection: Connection,
    entry: Entry,
    event: Event,
    now: float,
    *,
    max_attempts: int,
    reason: str = "",
    who: str = "",
    **values: Any,
) -> tuple[Effect, ...]:
    """Take one rebuild through one event; the effects to carry out. Raises Impossible, as `move_all` does."""
    (effects,) = move_all(connection, [Move(entry, event, reason, who, values)], now, max_attempts)
    return effects


def move_all(
    connection: Connection, moves: Sequence[Move], now: float, max_attempts: int
) -> list[tuple[Effect, ...]]:
    """Take rebuilds, each at most once, through events: states, stories, times. The effects of each, to carry out.

    However many they are, they cost a few statements. Raises Impossible, with the whole story, for an event that
    cannot happen, or for a rebuild that is not any more what its entry says: then none of them is to be committed.
    """
    followed = [_follow(connection, made, max_attempts) for made in moves]
    changed = [(made, _columns(made, after, now)) for made, (after, _) in zip(moves, followed, strict=True)]
    _change(connection, changed)
    record(connection, [(made.entry.id, made.event, new["state"], made.reason) for made, new in changed], now)
    outbox.came_into(connection, [_news(made, new) for made, new in changed], now)
    return [effects for _, effects in followed]


def _follow(
    connection: Connection, made: Move, max_attempts: int
) -> tuple[lifecycle.Rebuild, tuple[Effect, ...]]:
    entry = made.entry
    try:
        return lifecycle.step(lifecycle.Rebuild(entry.state, entry.attempt, max_attempts), made.event)
    except lifecycle.Impossible as error:
        told = story(connection, entry.id)
        raise lifecycle.Impossible(f"{entry.image} (rebuild {entry.id}): {error}; {told}") from None


def _columns(made: Move, after: lifecycle.Rebuild, now: float) -> dict[str, Any]:
    new = {"state": after.state, "attempt": after.attempt, "reason": made.reason, **made.values}
    if after.state in lifecycle.ENDED:
        new.setdefault("ended_at", now)
    if made.event is Event.DISPATCHED:
        new.setdefault("started_at", now)
    return new


def _change(connection: Connection, changed: Iterable[tuple[Move, Mapping[str, Any]]]) -> None:
    """Set the columns; those that set the same ones together."""
    alike: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for made, new in changed:
        row = {"of": made.entry.id, "was": made.entry.state, **{f"new_{name}": value for name, value in new.items()}}
        alike.setdefault(tuple(new), []).append(row)
    for names, rows in alike.items():
        if connection.execute(_changing(names), rows).rowcount != len(rows):
            told = "; ".join(f"rebuild {row['of']} was {row['was']}" for row in rows)
            raise lifecycle.Impossible(f"not any more as they were: {told}")


@cache
def _changing(columns: tuple[str, ...]) -> Any:
    """Sets these columns of the rebuild `of`, if it still is what it `was`. Made once: every step asks for it."""
    unchanged = Rebuild.id == bindparam("of"), Rebuild.state == bindparam("was")
    return update(Rebuild).where(*unchanged).values({name: bindparam(f"new_{name}") for name in columns})


def _news(made: Move, new: Mapping[str, Any]) -> News:
    entry = made.entry
    return News(entry.id, entry.wave_id, new["state"], {
        "attempt": new["attempt"],
        "started": new.get("started_at", entry.started_at),
        "reason": made.reason,
        "log": new.get("log", entry.log),
        "build": new.get("build_id"),
        "who": made.who,
    })  # fmt: skip


def record(connection: Connection, steps: Sequence[tuple[int, str, State, str]], now: float) -> None:
    """Write steps into the rebuilds' stories, and count them. Each has rebuild, event, state and reason."""
    if not steps:
        return
    connection.execute(_RECORD, [
        {"rebuild_id": ident, "at": now, "event": str(event), "state": str(state), "reason": reason}
        for ident, event, state, reason in steps
    ])  # fmt: skip
    happened = Counter(str(event) for _, event, _, _ in steps)
    ended = Counter(str(state) for _, _, state, _ in steps if state in lifecycle.ENDED)
    tallies.add(connection, {
        "step": {event: Counted(count) for event, count in happened.items()},
        "ended": {state: Counted(count) for state, count in ended.items()},
    })  # fmt: skip


def story(connection: Connection, rebuild_id: int) -> str:
    """The steps of a rebuild so far, in one line."""
    rows = connection.execute(
        select(Transition.event, Transition.state).where(Transition.rebuild_id == rebuild_id).order_by(Transition.id)
    )
    return "story: " + ", ".join(f"{event} -> {state}" for event, state in rows)
