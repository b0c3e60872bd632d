"""What is asked of Koji for a build, and what its answers mean."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault

import pytest
from support import koji_hub
from support.harnesses.koji import BASE, KojiHarness
from support.koji_tasks import ASSIGNED, CANCELED, FREE, Koji, Task
from support.slowness import within

from rebuilder.builders import koji_failure, koji_logs
from rebuilder.builders.koji import KojiBuilder
from rebuilder.config import Settings
from rebuilder.domain.build import BuildRejected, BuildRequest, PartialResult, Phase, SiteError, Status
from rebuilder.domain.change import Change, Severity
from rebuilder.domain.errors import InfrastructureError
from rebuilder.domain.image import Image, ImageBuild, Parent, ParentKind, PinnedParent, Source
from rebuilder.domain.rpm import SourceBuild

BUILDING, COMPLETE, DELETED, FAILED, BUILD_CANCELED = range(5)


class World:
    def __init__(self, running: koji_hub.Hub, folder: Path) -> None:
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
    with koji_hub.Hub(Koji()) as running:
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


# --- finding tasks by their keys


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


# --- what a fault says

KOJID = """Traceback (most recent call last):
  File "/usr/lib/python3/site-packages/koji/daemon.py", line 1473, in runTask
    response = (handler.run(),)
    raise ConnectionError("this line is a frame's")
  File "/usr/lib/python3/site-packages/koji/tasks.py", line 335, in run
    return self.handler(*self.params, **self.opts)
"""


@pytest.mark.parametrize(
    ("end", "phase"),
    [
        ("requests.exceptions.ConnectionError: HTTPSConnectionPool(host='osbs'): refused", Phase.ABORTED),
        ("koji.BuildError: the Dockerfile has no label\nrelease", Phase.FAILED),
    ],
)
def test_a_traceback_is_judged_by_its_last_exception_and_kept_whole(world: World, end: str, phase: Phase) -> None:
    frames = KOJID + "".join(f'  File "plugin.py", line {number}\n    call()\n' for number in range(200))
    first = f"{frames}OSError: timed out\n\nDuring handling of the above exception, another exception occurred:\n\n"
    builder = world.builder()
    task = world.begun(builder)
    world.koji.fail(task, first + frames + end, 1)
    found = world.status(builder, task)
    said = " ".join(end.split())
    assert (found.phase, found.reason[: len(said)]) == (phase, said), "the cause is seen wherever the text is cut"
    assert 'File "plugin.py", line 199' in found.reason
    assert "OSError: timed out" in found.reason
    assert "\n" not in found.reason


# As koji-containerbuild tells of a run that failed (builder_containerbuild.py, handle_build_response) with the words of
# osbs-client (osbs/tekton.py, get_error_message), and what atomic-reactor logs of it, which is in the task's logs.
RAN = 'Error: building at STEP "RUN dnf -y install libfoo": while running runtime: exit status 1'
IMAGE_FAULT = (
    f"Image build failed. Error in binary-container-build-x86-64: BuildProcessError('Build failed (rc=1): {RAN}\\n');. "
    "OSBS build id: app-f42-1"
)
REACTOR = "2026-01-02 03:04:05,678 - atomic_reactor.tasks.binary_container_build - {} - {}\n"
FAILED_STEP = (
    REACTOR.format("INFO", "Building image=registry.example.com/img:1 on host=builder.example.com")
    + REACTOR.format("INFO", "STEP 2/2: RUN dnf -y install libfoo")
    + REACTOR.format("INFO", "No match for argument: libfoo")
    + REACTOR.format("INFO", "Error: Unable to find a match: libfoo")
    + REACTOR.format("ERROR", RAN)
)


@pytest.mark.parametrize(
    ("log", "before"),
    [
        (FAILED_STEP, "container-build: Error: Unable to find a match: libfoo "
         "[No match for argument: libfoo / exit status 1] "),
        ("x" * koji_logs.PIECE + "\n" + FAILED_STEP, "container-build: Error: Unable to find a match: libfoo "
         "[No match for argument: libfoo / exit status 1] "),
        ("nothing of it\n", ""),
        ("", ""),
    ],
    ids=["short", "long", "silent", "none"],
)  # fmt: skip
def test_the_failure_is_the_error_in_the_task_s_log_and_then_its_fault(world: World, log: str, before: str) -> None:
    builder = world.builder()
    task = world.begun(builder)
    task.log = log
    world.koji.fail(task, IMAGE_FAULT)
    assert world.status(builder, task) == Status(Phase.FAILED, f"{before}[{IMAGE_FAULT}]" if before else IMAGE_FAULT)


def test_logs_are_read_of_failures_alone_that_their_faults_do_not_explain(world: World) -> None:
    builder = world.builder()
    clear, trouble = world.begun(builder, "clear"), world.begun(builder, "trouble")
    clear.log = trouble.log = FAILED_STEP
    world.koji.fail(clear, "koji.BuildError: Dockerfile file missing: Dockerfile")
    world.koji.fail(trouble, IMAGE_FAULT.replace("exit status 1", "no space left on device"))
    world.hub.calls.clear()
    assert world.status(builder, trouble).phase is Phase.ABORTED
    assert world.status(builder, clear).reason == "koji.BuildError: Dockerfile file missing: Dockerfile"
    assert world.hub.calls["downloadTaskOutput"] == 0


def test_a_log_that_cannot_be_read_leaves_the_fault(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    builder = world.builder()
    task = world.begun(builder)
    task.log = FAILED_STEP
    world.koji.fail(task, IMAGE_FAULT)

    def gone(*_: object, **__: object) -> str:
        raise Fault(1000, "no such file")

    monkeypatch.setattr(world.koji, "output", gone)
    assert world.status(builder, task) == Status(Phase.FAILED, IMAGE_FAULT)


def failed(world: World, builder: KojiBuilder, *keys: str) -> list[Task]:
    """Builds that failed, and whose logs say why."""
    tasks = [world.begun(builder, key) for key in keys]
    for task in tasks:
        task.log = FAILED_STEP
        world.koji.fail(task, IMAGE_FAULT)
    return tasks


def test_a_log_that_the_hub_refuses_keeps_no_other_failure_from_being_explained(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = world.builder()
    refused, other = failed(world, builder, "refused", "other")
    original = world.koji.output

    def output(task: int, *more: Any, **named: Any) -> str:
        if task == refused.id:
            raise Fault(1000, "no such file")
        return original(task, *more, **named)

    monkeypatch.setattr(world.koji, "output", output)
    found = builder.poll([str(refused.id), str(other.id)])
    assert found[str(refused.id)].reason == IMAGE_FAULT
    assert found[str(other.id)].reason.startswith("container-build: Error: Unable to find a match: libfoo")


def test_a_hub_that_is_slow_is_not_asked_for_logs_in_the_time_of_a_poll(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(koji_failure, "EXPLAIN_SECONDS", 0.0)
    builder = world.builder()
    tasks = failed(world, builder, "one", "two")
    world.hub.calls.clear()
    found = builder.poll([str(task.id) for task in tasks])
    assert {status.reason for status in found.values()} == {IMAGE_FAULT}
    assert not world.hub.calls["listTaskOutput"] + world.hub.calls["downloadTaskOutput"]


def test_a_log_that_hangs_is_waited_for_no_longer_than_the_time_of_a_poll(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(koji_failure, "EXPLAIN_SECONDS", 1.0)
    builder = world.builder()
    (task,) = failed(world, builder, "app")
    world.hub.slow["downloadTaskOutput"] = 5.0
    began = time.monotonic()
    assert world.status(builder, task) == Status(Phase.FAILED, IMAGE_FAULT)
    assert time.monotonic() - began < within(4)


# --- the log


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


def test_settings_without_a_hub_are_refused() -> None:
    with pytest.raises(ValueError, match=r"consumer_config\.koji\.hub is not set"):
        KojiBuilder(Settings(builder="koji"))


# --- external parents

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
