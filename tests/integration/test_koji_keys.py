"""The tasks of rebuilds are found in Koji by their keys."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from integration import koji_world
from integration.koji_world import World
from support.koji_tasks import CANCELED

world = koji_world.world


def test_live_tasks_are_found_without_going_through_all_tasks(world: World) -> None:
    tasks = {task.key: str(task.id) for task in (world.begun(world.builder(), f"app{number}") for number in range(25))}
    world.koji.scan = 3.0
    builder = world.builder(timeout_seconds=1)
    world.hub.calls.clear()
    found = builder.find(list(tasks))
    assert {key: submission.ref for key, submission in found.items()} == tasks
    assert world.hub.calls["listTasks"] == 1, "ended tasks are asked for only where one is missing"


def test_ended_tasks_are_found_in_the_days_before_and_each_day_is_looked_at_once(world: World) -> None:
    now = time.time()
    tasks = [world.begun(world.builder(), f"app{days}") for days in range(1, 16)]
    for days, task in enumerate(tasks, 1):
        task.state, task.created = CANCELED, now - days * 86400 + 3600
    world.koji.scan = 3.0
    builder = world.builder(timeout_seconds=1)
    assert set(builder.find(["app1"])) == {"app1"}
    assert world.hub.calls["listTasks"] == 2, "the live ones, and those of the last day"
    world.hub.calls.clear()
    assert set(builder.find(["app3"])) == {"app3"}
    assert world.hub.calls["listTasks"] == 4, "the live ones, what is new, and two days more"
    assert set(builder.find(["app14", "app15"])) == {"app14"}, "two weeks, no longer"
    world.hub.calls.clear()
    assert dict(builder.find(["nothing"])) == {}
    assert world.hub.calls["listTasks"] == 2, "the live ones, and what is new"


def test_a_task_that_ended_since_the_last_look_is_found_by_the_hub_s_clock(world: World) -> None:
    ahead = 5 * 3600.0
    first = world.begun(world.builder())
    first.created += ahead
    builder = world.builder()
    assert set(builder.find([first.key, "nothing"])) == {first.key}
    later = world.begun(world.builder(), "later")
    later.created += ahead - 500
    later.state = CANCELED
    assert set(builder.find(["later"])) == {"later"}


def test_threads_that_look_at_the_same_time_find_the_same(world: World) -> None:
    tasks = {task.key: str(task.id) for task in (world.begun(world.builder(), f"app{number}") for number in range(8))}
    for task in list(world.koji.live())[::2]:
        task.state = CANCELED
    builder = world.builder()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda key: builder.find([key])[key].ref, [*tasks] * 3))
    assert answers == [*tasks.values()] * 3


def test_the_tasks_of_others_and_of_other_programs_are_not_ours(world: World) -> None:
    builder = world.builder()
    mine = world.begun(builder)
    mine.options["userdata"] = {"other": {"key": "app"}}
    theirs = world.begun(world.builder(), "bpp")
    theirs.owner = 99
    for odd in (None, "text", {"rebuilder": "text"}):
        world.begun(world.builder(), f"odd{odd}").options["userdata"] = odd
    assert dict(world.builder().find(["app", "bpp", ""])) == {}
