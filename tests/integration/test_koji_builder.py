"""What is asked of Koji for a build, and what its answers mean."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hub
import pytest
from harnesses.koji import BASE, KojiHarness
from hub_tasks import ASSIGNED, CANCELED, FREE, OPEN, Koji, Task

from rebuilder.builders import koji as builders
from rebuilder.builders.koji import KojiBuilder
from rebuilder.config import Settings
from rebuilder.domain.build import BuildRejected, BuildRequest, Phase, Status
from rebuilder.domain.change import Change, Severity
from rebuilder.domain.image import Image, ImageBuild, Parent, ParentKind, Source
from rebuilder.domain.rpm import SourceBuild

BUILDING, COMPLETE, DELETED, FAILED, BUILD_CANCELED = range(5)


class World:
    def __init__(self, running: hub.Hub, folder: Path) -> None:
        self.hub = running
        self.koji = running.koji
        self.harness = KojiHarness(running, folder)
        self.settings = self.harness.settings

    def builder(self, **changes: Any) -> KojiBuilder:
        koji = self.settings.koji.model_copy(update=changes)
        return KojiBuilder(self.settings.model_copy(update={"koji": koji}))

    def task(self, ref: str) -> Task:
        return self.koji.tasks[int(ref)]

    def begun(self, builder: KojiBuilder, key: str = "app") -> Task:
        return self.task(builder.submit(self.harness.order(key)).ref)

    def status(self, builder: KojiBuilder, task: Task) -> Status:
        return builder.poll([str(task.id)])[str(task.id)]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with hub.Hub(Koji()) as running:
        yield World(running, tmp_path)


CHANGE = Change(SourceBuild.parse("openssl-1:3.2.2-1.fc42"), "f42")


def order(*parents: Parent, severity: Severity = Severity.LOW, builds: tuple[ImageBuild, ...] = ()) -> BuildRequest:
    source = Source(git="https://src.example.com/app", ref="f42", commit="abc")
    return BuildRequest("app-f42-1", Image("app", "f42", parents, source), builds, (CHANGE,), None, severity)


ON_BASE = Parent(ParentKind.BASE, "base:f42")
BASE_BUILD = ImageBuild("base:f42", BASE)


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
        ((ON_BASE,), (ImageBuild("base:f42", "scratch/17"),)),
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
    for state in (FREE, ASSIGNED, OPEN):
        task.state = state
        assert world.status(builder, task) == Status(Phase.RUNNING)
    task.state = CANCELED
    assert world.status(builder, task) == Status(Phase.CANCELED, f"task {task.id} was canceled in Koji")


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


@pytest.mark.parametrize(
    ("code", "text", "phase"),
    [
        (2001, "image build failed: exit status 1\nin the step RUN make", Phase.FAILED),
        (1005, "Error running GIT command", Phase.FAILED),
        (1, "<class 'koji.ServerOffline'>: database outage", Phase.ABORTED),
        (1, "requests.exceptions.ConnectionError: ('Connection aborted.', OSError(0))", Phase.ABORTED),
        (2001, "reading manifest: 503 Service Unavailable", Phase.ABORTED),
        (2001, "copying layers: no space left on device", Phase.ABORTED),
    ],
)
def test_a_failed_task_says_whether_it_is_the_image_s_fault(world: World, code: int, text: str, phase: Phase) -> None:
    builder = world.builder()
    task = world.begun(builder)
    world.koji.fail(task, text, code)
    assert world.status(builder, task) == Status(phase, " ".join(text.split()))


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
    assert {status.phase for status in builder.poll(refs).values()} == {Phase.RUNNING}
    assert world.hub.requests == 1
    for ref in refs:
        world.koji.close(world.task(ref))
    world.hub.requests = 0
    assert {status.phase for status in builder.poll(refs).values()} == {Phase.SUCCEEDED}
    assert world.hub.requests == 3


def test_tasks_are_found_by_their_keys_over_several_pages(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builders, "PAGE", 10)
    builder = world.builder()
    tasks = {task.key: str(task.id) for task in (world.begun(builder, f"app{number}") for number in range(25))}
    found = world.builder().find([*tasks, "nothing"])
    assert {key: submission.ref for key, submission in found.items()} == tasks


def test_the_tasks_of_others_and_of_other_programs_are_not_ours(world: World) -> None:
    builder = world.builder()
    mine = world.begun(builder)
    mine.options["userdata"] = {"other": {"key": "app"}}
    theirs = world.begun(world.builder(), "bpp")
    theirs.owner = 99
    for odd in (None, "text", {"rebuilder": "text"}):
        world.begun(world.builder(), f"odd{odd}").options["userdata"] = odd
    assert dict(world.builder().find(["app", "bpp", ""])) == {}


def test_a_second_look_asks_only_for_what_is_new_by_the_hub_s_clock(world: World) -> None:
    first = world.begun(world.builder())
    builder = world.builder()
    assert first.key in builder.find([first.key])
    asked: list[float] = []
    original = world.koji.list_tasks
    world.koji.list_tasks = lambda opts, query=None: asked.append(opts["createdAfter"]) or original(opts, query)  # type: ignore[method-assign, func-returns-value]
    later = world.begun(world.builder(), "later")
    later.created = first.created + 3600
    assert set(builder.find([first.key, later.key])) == {first.key, later.key}
    builder.find(["nothing"])
    assert asked == [first.created - builders.OVERLAP, later.created - builders.OVERLAP]


def test_settings_without_a_hub_are_refused() -> None:
    with pytest.raises(ValueError, match=r"consumer_config\.koji\.hub is not set"):
        KojiBuilder(Settings(builder="koji"))
