"""Which indexes SQLite takes: what is asked in each pass does not grow with history."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, event, select

from rebuilder.store import (
    attention_order,
    build_durations,
    database,
    models,
    open_rebuilds,
    rebuild_dependencies,
    rebuild_progress,
    rebuilds,
)


def searched(url: str, call: Callable[[Connection], object]) -> list[str]:
    """How SQLite goes about the last thing that the call asks: the steps that touch rebuilds."""
    engine = database.open_database(url)
    database.upgrade(engine)
    asked: list[tuple[str, Any]] = []
    event.listen(engine, "before_cursor_execute", lambda _c, _u, query, values, *_: asked.append((query, values)))
    with engine.begin() as connection:
        call(connection)
    query, values = asked[-1]
    with engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", values).all()
    return [step[-1] for step in plan if "rebuild" in step[-1]]


@pytest.mark.parametrize("call", [
    rebuilds.any_stopped, rebuilds.unsettled, lambda connection: open_rebuilds.stopped(connection, 10),
    lambda connection: rebuild_progress.unsettled(connection, {"base:f42"}),
    lambda connection: connection.execute(select(models.Rebuild.id).where(attention_order.REBUILDS)).all(),
])  # fmt: skip
def test_the_last_rebuilds_of_images_are_not_looked_for_among_all_that_ever_ended_so(
    sqlite_url: str, call: Callable[[Connection], object]
) -> None:
    steps = searched(sqlite_url, call)
    assert any("ix_rebuild_newest" in step or "ix_rebuild_current" in step for step in steps), steps
    assert not any("(state=?" in step for step in steps), steps


def test_what_an_image_s_builds_take_is_found_by_the_image_and_not_in_all_of_history(sqlite_url: str) -> None:
    steps = searched(sqlite_url, lambda connection: build_durations.measure(connection, [1, 2]))  # there are none yet
    assert len(steps) == 2, steps
    assert any("ix_rebuild_image (image_id=? AND id>?)" in step for step in steps), steps
    assert all("ix_rebuild_image (image_id=?" in step for step in steps), steps


def test_what_a_build_left_behind_is_found_by_its_image_and_not_in_all_that_is_blocked(sqlite_url: str) -> None:
    steps = searched(sqlite_url, lambda connection: rebuild_dependencies.blocked_by_superseded(connection, [1, 2]))
    assert any("ix_rebuild_image (image_id=? AND id<?)" in step for step in steps), steps
    assert not any("state=?" in step for step in steps), steps
