"""Steps through the lifecycle, taken together, on SQLite and on PostgreSQL."""

from __future__ import annotations

import pytest
from integration.workbench import Workbench, image
from msgspec.structs import replace
from sqlalchemy import Engine

from rebuilder.domain.lifecycle import Built, CausesGone, InvalidTransition, ParentsDone, RebuildRecord, State
from rebuilder.store import rebuilds, transitions
from rebuilder.store.database import reading
from rebuilder.store.transitions import Happened, Transitions

FIX = "openssl-3.2.2-1.fc42"
WORLD = (image("base"), image("mid", "base"), image("app", "mid"))


@pytest.fixture
def waiting(store: Engine) -> list[RebuildRecord]:
    """The rebuilds of a wave whose parents are not done."""
    bench = Workbench(store, WORLD)
    bench.tell(FIX)
    bench.passes()
    with reading(store) as connection:
        found = rebuilds.in_states(connection, [State.WAITING])
    assert len(found) > 1
    return found


def take(store: Engine, happened: list[Happened]) -> None:
    with store.begin() as connection:
        Transitions(connection, 5.0, 3).apply(happened)


def test_rebuilds_that_set_different_columns_are_taken_along_together(
    store: Engine, waiting: list[RebuildRecord]
) -> None:
    gone, done = waiting[:2]
    take(store, [(gone, CausesGone("nothing to do")), (done, ParentsDone())])
    with reading(store) as connection:
        found = rebuilds.of_ids(connection, [gone.id, done.id])
        told = transitions.story(connection, gone.id)
    assert (found[gone.id].state, found[gone.id].ended_at) == (State.UNNEEDED, 5.0)
    assert (found[done.id].state, found[done.id].ended_at) == (State.QUEUED, None)
    assert told.endswith(f"causes-gone -> {State.UNNEEDED}")


def test_one_that_changed_meanwhile_stops_them_all_and_none_is_changed(
    store: Engine, waiting: list[RebuildRecord]
) -> None:
    old = replace(waiting[0], state=State.QUEUED)
    with pytest.raises(InvalidTransition, match=f"rebuild {old.id} was queued"):
        take(store, [(waiting[1], CausesGone()), (old, CausesGone())])
    with reading(store) as connection:
        assert rebuilds.in_states(connection, [State.WAITING]) == waiting


def test_one_that_cannot_go_that_way_is_named_with_its_whole_story(
    store: Engine, waiting: list[RebuildRecord]
) -> None:
    told = rf"{waiting[1].image} \(rebuild {waiting[1].id}\).*story: planned -> waiting"
    with pytest.raises(InvalidTransition, match=told):
        take(store, [(waiting[0], ParentsDone()), (waiting[1], Built())])
