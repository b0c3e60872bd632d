"""The logs of tasks in Koji: each part is read once, and counted in characters."""

from __future__ import annotations

import pytest
from integration import koji_world
from integration.koji_world import World

from rebuilder.builders import koji_logs

world = koji_world.world


def test_a_log_that_is_followed_is_read_once(world: World) -> None:
    builder = world.builder()
    task = world.begun(builder)
    read: list[tuple[int, int]] = []
    original = world.koji.output
    world.koji.output = lambda task, name, offset=0, size=-1: read.append((offset, size)) or original(task, name, offset, size)  # type: ignore[method-assign, func-returns-value] # noqa: E501
    said, offset = "", 0
    for line in ("Schritt 1: größer\n", "", "Schritt 2\n"):
        task.log += line
        new = "".join(builder.log(str(task.id), offset))
        said, offset = said + new, offset + len(new)
    assert said == task.log
    assert [place for place, _ in read] == [0, len("Schritt 1: größer\n".encode())]
    assert "".join(world.builder().log(str(task.id), 9)) == task.log[9:], "one that begins anew counts characters too"


def test_a_character_that_is_written_half_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(koji_logs, "PIECE", 5)
    builder = world.builder()
    task = world.begun(builder)
    task.log = "öäüßöäüß\n"
    assert "".join(builder.log(str(task.id))) == task.log
    assert next(iter(builder.log(str(task.id), 3))).startswith("ß")


def test_the_log_of_a_task_that_does_not_exist_is_empty(world: World) -> None:
    assert [*world.builder().log("999999")] == []
    assert [*world.builder().log("no number")] == []
