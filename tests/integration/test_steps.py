"""Steps through the lifecycle, taken together, on SQLite and on PostgreSQL."""

from __future__ import annotations

from dataclasses import replace

import pytest
from integration.workbench import Workbench, image
from sqlalchemy import Engine

from rebuilder.domain.lifecycle import Event, Impossible, State
from rebuilder.store import rebuilds, steps
from rebuilder.store.database import reading
from rebuilder.store.steps import Move

FIX = "openssl-3.2.2-1.fc42"
WORLD = (image("base"), image("mid", "base"), image("app", "mid"))


@pytest.fixture
def waiting(store: Engine) -> list[rebuilds.Entry]:
    """The rebuilds of a wave whose parents are not done."""
    bench = Workbench(store, WORLD)
    bench.tell(FIX)
    bench.passes()
    with reading(store) as connection:
        found = rebuilds.in_states(connection, [State.WAITING])
    assert len(found) > 1
    return found


def take(store: Engine, moves: list[Move]) -> None:
    with store.begin() as connection:
        steps.move_all(connection, moves, 5.0, max_attempts=3)


def test_rebuilds_that_set_different_columns_are_taken_along_together(
    store: Engine, waiting: list[rebuilds.Entry]
) -> None:
    gone, done = waiting[:2]
    take(store, [Move(gone, Event.CAUSES_GONE, "nothing to do"), Move(done, Event.PARENTS_DONE)])
    with reading(store) as connection:
        found = rebuilds.of_ids(connection, [gone.id, done.id])
        told = steps.story(connection, gone.id)
    assert (found[gone.id].state, found[gone.id].ended_at) == (State.UNNEEDED, 5.0)
    assert (found[done.id].state, found[done.id].ended_at) == (State.QUEUED, None)
    assert told.endswith(f"{Event.CAUSES_GONE} -> {State.UNNEEDED}")


def test_one_that_changed_meanwhile_stops_them_all_and_none_is_changed(
    store: Engine, waiting: list[rebuilds.Entry]
) -> None:
    old = replace(waiting[0], state=State.QUEUED)
    with pytest.raises(Impossible, match=f"rebuild {old.id} was queued"):
        take(store, [Move(waiting[1], Event.CAUSES_GONE), Move(old, Event.CAUSES_GONE)])
    with reading(store) as connection:
        assert rebuilds.in_states(connection, [State.WAITING]) == waiting


def test_one_that_cannot_go_that_way_is_named_with_its_whole_story(
    store: Engine, waiting: list[rebuilds.Entry]
) -> None:
    with pytest.raises(Impossible, match=rf"{waiting[1].image} \(rebuild {waiting[1].id}\).*story: planned -> waiting"):
        take(store, [Move(waiting[0], Event.PARENTS_DONE), Move(waiting[1], Event.BUILT)])
