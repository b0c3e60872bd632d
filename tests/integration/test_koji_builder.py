"""What is asked of Koji for a build, and what its answers mean."""

from __future__ import annotations

from typing import Any
from xmlrpc.client import Fault

import pytest
from integration import koji_world
from integration.koji_world import BASE_BUILD, ON_BASE, World, order
from support.harnesses.koji import BASE
from support.koji_tasks import ASSIGNED, CANCELED, FREE, Task

from rebuilder.builders.koji import KojiBuilder
from rebuilder.config import Settings
from rebuilder.domain.build import BuildRejected, BuildRequest, Phase, SiteError, Status
from rebuilder.domain.change import Severity
from rebuilder.domain.errors import InfrastructureError
from rebuilder.domain.image import Image, ImageBuild, Parent, ParentKind, Source
from rebuilder.domain.rpm import SourceBuild

world = koji_world.world
BUILDING, COMPLETE, DELETED, FAILED, BUILD_CANCELED = range(5)


def test_a_task_is_asked_for_with_all_that_a_build_needs(world: World) -> None:
    builder = world.builder(
        yum_repourls=("https://repo.example.com/x.repo",), compose_ids=(7,), signing_intent="release"
    )
    submission = builder.submit(order(ON_BASE, severity=Severity.HIGH, builds=(BASE_BUILD,)))
    task = world.task(submission.ref)
    assert submission.log == f"https://koji.example.com/koji/taskinfo?taskID={task.id}"
    assert task.request == [
        "git+https://src.example.com/app#abc",
        "f42-container",
        {
            "git_branch": "f42", "koji_parent_build": BASE, "yum_repourls": ["https://repo.example.com/x.repo"],
            "compose_ids": [7], "signing_intent": "release",
            "userdata": {"rebuilder": {
                "key": "app-f42-1", "image": "app:f42", "causes": ["openssl-1:3.2.2-1.fc42"],
            }},
        },
    ]  # fmt: skip


def test_the_branch_s_head_is_built_where_the_settings_say_so(world: World) -> None:
    task = world.task(world.builder(build_from="branch").submit(order()).ref)
    assert task.request[0] == "git+https://src.example.com/app#f42"


def test_more_severe_is_sooner_and_never_needs_an_administrator(world: World) -> None:
    asked: list[int] = []
    original = world.koji.build_container
    world.koji.build_container = lambda *a, priority=None, **k: asked.append(priority) or original(*a, **k)  # type: ignore[method-assign, func-returns-value]
    for severity in Severity:
        world.builder().submit(order(severity=severity))
    assert asked == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("parents", "builds"),
    [
        ((), ()),
        ((Parent(ParentKind.STAGE, "base:f42"),), (BASE_BUILD,)),
        ((Parent(ParentKind.BASE, external="registry/fedora:42"), Parent(ParentKind.STAGE, "base:f42")), (BASE_BUILD,)),
        ((ON_BASE,), (ImageBuild("base:f42", "registry/f42/base@sha256:17"),)),
        ((ON_BASE,), ()),
    ],
)
def test_without_a_base_that_koji_has_nothing_is_pinned(
    world: World, parents: tuple[Parent, ...], builds: tuple[ImageBuild, ...]
) -> None:
    task = world.task(world.builder().submit(order(*parents, builds=builds)).ref)
    assert "koji_parent_build" not in task.options


def test_an_image_without_a_source_or_a_target_is_not_built(world: World) -> None:
    with pytest.raises(BuildRejected, match="app:f42 has no commit in git to build from"):
        world.builder().submit(BuildRequest("k", Image("app", "f42")))
    other = Image("app", "f41", source=Source(git="https://src.example.com/app", commit="abc"))
    with pytest.raises(BuildRejected, match=r"set consumer_config\.streams\.f41\.koji_target"):
        world.builder().submit(BuildRequest("k", other))
    assert world.koji.live() == []


def test_the_states_of_a_task_are_those_of_the_build(world: World) -> None:
    builder = world.builder()
    task = world.begun(builder)
    for state in (FREE, ASSIGNED):
        task.state = state
        assert world.status(builder, task) == Status(Phase.WAITING), "no host has begun with it"
    task.open()
    assert task.started
    assert world.status(builder, task) == Status(Phase.RUNNING, begun=task.started)
    task.state = CANCELED
    said = f"task {task.id} was canceled in Koji"
    assert world.status(builder, task) == Status(Phase.CANCELED, said, task.started)


@pytest.mark.parametrize(
    ("state", "phase", "said"),
    [
        (BUILDING, Phase.RUNNING, ""),
        (COMPLETE, Phase.SUCCEEDED, ""),
        (DELETED, Phase.FAILED, "is deleted in Koji"),
        (FAILED, Phase.FAILED, "is failed in Koji"),
        (BUILD_CANCELED, Phase.CANCELED, "was canceled in Koji"),
    ],
)
def test_a_closed_task_is_as_good_as_its_build(world: World, state: int, phase: Phase, said: str) -> None:
    builder = world.builder()
    task = world.begun(builder)
    world.koji.close(task, state)
    found = world.status(builder, task)
    assert found.phase is phase
    assert said in found.reason


def test_a_closed_task_whose_build_is_unknown_or_missing_is_trouble(world: World) -> None:
    builder = world.builder()
    task = world.begun(builder)
    world.koji.close(task)
    assert task.build is not None and task.result is not None
    del world.koji.builds[task.build]
    assert world.status(builder, task).phase is Phase.ABORTED
    task.result["koji_builds"] = []
    assert world.status(builder, task) == Status(Phase.ABORTED, f"task {task.id} closed without a build in Koji")


def test_the_result_is_koji_s_build_with_its_digest_tags_parents_and_manifest(world: World) -> None:
    builder = world.builder()
    task = world.begun(builder)
    world.koji.offered["openssl"] = SourceBuild.parse("openssl-1:3.2.2-1.fc42")
    world.koji.image("base-42-2", "f42-images", ["openssl-libs-1:3.2.2-1.fc42.x86_64 openssl-3.2.2-1.fc42"])
    task.options["koji_parent_build"] = "base-42-2"
    world.koji.close(task)
    build = builder.result(str(task.id))
    assert (build.image, build.ident, build.parents) == ("app:f42", "app-1-2", ("base-42-2",))
    assert build.digest == "sha256:app2"
    assert "registry.example.com/f42/app:latest" in build.tags
    assert build.manifest is not None
    assert {rpm.nevra for rpm in build.manifest.rpms} == {
        "openssl-libs-1:3.2.2-1.fc42.x86_64", "openssl-libs-1:3.2.2-1.fc42.aarch64",
    }  # fmt: skip


def test_a_scratch_build_succeeds_with_nothing_in_koji(world: World) -> None:
    builder = world.builder(scratch=True)
    task = world.begun(builder)
    assert task.options["scratch"] is True
    world.koji.close(task)
    assert world.status(builder, task) == Status(Phase.SUCCEEDED)
    assert builder.result(str(task.id)) == ImageBuild("app:f42", f"scratch/{task.id}")


def test_all_live_tasks_are_asked_for_with_one_round_trip(world: World) -> None:
    builder = world.builder()
    refs = [str(world.begun(builder, f"app{number}").id) for number in range(150)]
    world.hub.requests = 0
    assert {status.phase for status in builder.poll(refs).values()} == {Phase.WAITING}
    assert world.hub.requests == 1
    for ref in refs:
        world.koji.close(world.task(ref))
    world.hub.requests = 0
    assert {status.phase for status in builder.poll(refs).values()} == {Phase.SUCCEEDED}
    assert world.hub.requests == 3


def test_a_task_that_cannot_be_read_now_holds_up_no_other(world: World) -> None:
    builder = world.builder()
    good, bad, closed = (world.begun(builder, key) for key in ("good", "bad", "closed"))
    world.koji.close(closed)
    for method, broken, left in (("get_task_info", bad, (good, closed)), ("get_task_result", closed, (good, bad))):
        original = getattr(world.koji, method)

        def answer(task: int, *more: Any, original: Any = original, broken: Task = broken) -> Any:
            if task == broken.id:
                raise Fault(1, "the database is locked")
            return original(task, *more)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(world.koji, method, answer)
            found = builder.poll([str(task.id) for task in (good, bad, closed)])
        assert set(found) == {str(task.id) for task in left}


def test_a_submission_may_take_the_hub_longer_than_other_calls(world: World) -> None:
    builder = world.builder(timeout_seconds=0.3)
    world.hub.slow = {"buildContainer": 1.0}
    assert world.begun(builder).key == "app"


def test_a_user_who_may_not_build_at_all_is_a_matter_of_the_site(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(code: int) -> None:
        def build_container(*_: Any, **__: Any) -> int:
            raise Fault(code, "policy violation (channel)")

        monkeypatch.setattr(world.koji, "build_container", build_container)

    refuse(1004)
    with pytest.raises(SiteError, match="Koji refused buildContainer: policy violation"):
        world.builder().submit(order())
    refuse(1000)
    with pytest.raises(InfrastructureError, match="Koji refused buildContainer") as told:
        world.builder().submit(order())
    assert not isinstance(told.value, SiteError)
    assert not told.value.arrived


def test_the_children_of_a_scratch_build_are_built_on_what_the_tags_have(world: World) -> None:
    world.koji.image("base-42-2", "f42-images", [])
    world.koji.image("base-42-3", "f42-candidate", [])
    scratch = ImageBuild("base:f42", "scratch/17")
    task = world.task(world.builder(scratch=True).submit(order(ON_BASE, builds=(scratch,))).ref)
    assert task.options["koji_parent_build"] == "base-42-2"
    world.koji.tags["f42-images"].clear()
    task = world.task(world.builder(scratch=True).submit(order(ON_BASE, builds=(scratch,))).ref)
    assert "koji_parent_build" not in task.options


def test_settings_without_a_hub_are_refused() -> None:
    with pytest.raises(ValueError, match=r"consumer_config\.koji\.hub is not set"):
        KojiBuilder(Settings(builder="koji"))
