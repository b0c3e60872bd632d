"""On which digests of other people's images Koji's builds stand: their logs say it."""

from __future__ import annotations

import pytest
from integration import koji_world
from integration.koji_world import World, order
from support.koji_tasks import Task

from rebuilder.builders import koji_logs
from rebuilder.builders.koji import KojiBuilder
from rebuilder.domain.build import PartialResult
from rebuilder.domain.image import Parent, ParentKind, PinnedParent

world = koji_world.world
FEDORA, TOOLS = "registry.example.com/fedora:42", "quay.example.com/tools:1"
ON_OTHERS = (Parent(ParentKind.BASE, external=FEDORA), Parent(ParentKind.STAGE, external=TOOLS))
# As atomic-reactor's check_base_image says it, in koji-containerbuild's log of all that is of no platform.
TAKEN = "".join(
    f"2026-04-23 15:19:28,000 - atomic_reactor.plugins.check_base_image - INFO - Replacing image '{spec}' with "
    f"'{spec.partition(':')[0]}@sha256:{digit * 64}'\n" for spec, digit in ((TOOLS, "5"), (FEDORA, "4"))
)  # fmt: skip
PINNED = (
    PinnedParent(FEDORA, f"registry.example.com/fedora@sha256:{'4' * 64}"),
    PinnedParent(TOOLS, f"quay.example.com/tools@sha256:{'5' * 64}"),
)


def built_on_others(world: World, builder: KojiBuilder, prepared: str) -> Task:
    world.koji.image("app-1-1", "f42-images", [], {FEDORA: None, TOOLS: None})
    task = world.task(builder.submit(order(*ON_OTHERS)).ref)
    task.prepared, task.log = prepared, "Step 1\n"
    world.koji.close(task)
    return task


@pytest.mark.parametrize("scratch", [False, True])
def test_the_result_says_on_which_digests_of_external_parents_it_stands(world: World, scratch: bool) -> None:
    task = built_on_others(world, world.builder(scratch=scratch), TAKEN)
    assert world.builder(scratch=scratch).result(str(task.id)).externals == PINNED


def test_no_more_of_the_log_is_read_than_it_takes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(koji_logs, "PIECE", len(TAKEN) - 1)
    builder = world.builder()
    task = built_on_others(world, builder, TAKEN + "x" * 10 * len(TAKEN))
    assert builder.result(str(task.id)).externals == PINNED
    assert world.hub.calls["downloadTaskOutput"] == 2


def test_what_the_log_does_not_say_is_not_known_and_stops_nothing(world: World) -> None:
    builder = world.builder()
    other = TAKEN.replace("/fedora", "/rhel")
    assert builder.result(str(built_on_others(world, builder, other).id)).externals == PINNED[1:]


def test_where_koji_has_no_log_the_parents_are_not_known_and_the_build_is(world: World) -> None:
    builder = world.builder()
    result = builder.result(str(built_on_others(world, builder, "").id))
    assert (result.ident, result.externals) == ("app-1-2", ())


def test_a_log_that_cannot_be_read_now_is_asked_for_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    builder = world.builder()
    task = built_on_others(world, builder, TAKEN)
    world.hub.slow["downloadTaskOutput"] = 7.0
    with pytest.raises(PartialResult, match=f"the log of task {task.id} cannot be read") as told:
        builder.result(str(task.id))
    assert told.value.build.ident == "app-1-2"
    world.hub.slow.clear()
    assert builder.result(str(task.id)).externals == PINNED


def test_the_log_of_a_build_on_our_own_images_is_not_read(world: World) -> None:
    builder = world.builder()
    task = world.begun(builder)
    world.koji.close(task)
    assert builder.result(str(task.id)).externals == ()
    assert not world.hub.calls["downloadTaskOutput"]
