"""What is told of a task that failed: from its fault, and from its log where that says more."""

from __future__ import annotations

import time
from typing import Any
from xmlrpc.client import Fault

import pytest
from integration import koji_world
from integration.koji_world import World
from support.koji_tasks import Task
from support.slowness import within

from rebuilder.builders import koji_failure, koji_logs
from rebuilder.builders.koji import KojiBuilder
from rebuilder.domain.build import Phase, Status

world = koji_world.world


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
