"""OSBS: the states of runs, and whose fault it is that one failed."""

from __future__ import annotations

import pytest
from support.harnesses.osbs import UNDER_WAY, OsbsHarness, phase
from support.tekton import Fault

from rebuilder.domain.build import Phase, Status
from rebuilder.domain.errors import InfrastructureError


def test_live_runs_are_polled_with_one_list_however_many_there_are(
    osbs: OsbsHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(osbs.builder._logs, "follow", lambda runs: list(runs))  # the logs' streams ask on their own
    refs = [osbs.builder.submit(osbs.order(f"many-f42-{number}")).ref for number in range(3)]
    first = osbs.cluster.runs[refs[0]]
    for number in range(500):
        name = f"other-f42-{number}"
        osbs.cluster.runs[name] = {**first, "metadata": {**first["metadata"], "name": name}}
    osbs.cluster.lists = osbs.cluster.reads = 0
    asked = [*refs, *(f"other-f42-{number}" for number in range(500))]
    assert {status.phase for status in osbs.builder.poll(asked).values()} <= UNDER_WAY
    assert (osbs.cluster.lists, osbs.cluster.reads) == (2, 0)


def test_the_tasks_of_all_that_failed_are_read_with_one_list(
    osbs: OsbsHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    refs = [osbs.builder.submit(osbs.order(f"bad-f42-{number}")).ref for number in range(3)]
    for ref in refs:
        osbs.cluster.fail(ref, f"the build of {ref} broke")
    monkeypatch.setattr(osbs.builder._logs, "complete", len)  # the logs' readers ask on their own
    osbs.cluster.lists = 0
    found = osbs.builder.poll(refs)
    assert osbs.cluster.lists == 2, "one of the runs, one of their tasks"
    assert all(found[ref].phase is Phase.FAILED and f"the build of {ref} broke" in found[ref].reason for ref in refs)


def test_a_run_without_our_label_is_asked_for_by_its_name(osbs: OsbsHarness) -> None:
    ref = osbs.builder.submit(osbs.order("older-f42-1")).ref
    del osbs.cluster.runs[ref]["metadata"]["labels"]
    osbs.cluster.succeed(ref, {})
    assert phase(osbs, ref) is Phase.SUCCEEDED


def test_a_run_has_begun_when_tekton_says_so(osbs: OsbsHarness) -> None:
    ref = osbs.builder.submit(osbs.order("begun-f42-1")).ref
    osbs.cluster.runs[ref]["status"] = {"startTime": "2026-01-01T00:00:10Z"}
    assert osbs.builder.poll([ref])[ref] == Status(Phase.RUNNING, begun=1767225610.0)


def test_a_run_is_pending_then_started_then_running_all_of_which_is_running_to_us(osbs: OsbsHarness) -> None:
    ref = osbs.builder.submit(osbs.order("slow-f42-1")).ref
    assert "status" not in osbs.cluster.runs[ref]
    assert phase(osbs, ref) in UNDER_WAY
    osbs.cluster.runs[ref]["status"] = {}
    assert phase(osbs, ref) in UNDER_WAY
    osbs.cluster._set(ref, "Unknown", "PipelineRunPending")
    assert phase(osbs, ref) in UNDER_WAY
    for reason in ("Started", "Running"):
        osbs.cluster._set(ref, "Unknown", reason)
        assert phase(osbs, ref) in UNDER_WAY


@pytest.mark.parametrize("reason", ["Succeeded", "Completed"])
def test_both_words_for_success_are_one(osbs: OsbsHarness, reason: str) -> None:
    ref = osbs.builder.submit(osbs.order("good-f42-1")).ref
    osbs.cluster.succeed(ref, {}, reason)
    assert phase(osbs, ref) is Phase.SUCCEEDED


def test_a_failure_has_the_words_of_the_task_that_failed(osbs: OsbsHarness) -> None:
    ref = osbs.builder.submit(osbs.order("bad-f42-1")).ref
    osbs.cluster.fail(ref, "dnf: nothing provides\nlibfoo")
    found = osbs.builder.poll([ref])[ref]
    assert found == Status(Phase.FAILED, "binary-container-build: dnf: nothing provides libfoo")


@pytest.mark.parametrize(("reason", "task_reason"), [
    ("PipelineRunTimeout", "TaskRunTimeout"), ("CouldntGetPipeline", "Failed"), ("Failed", "TaskRunImagePullFailed"),
    ("Failed", "PodEvicted"),
])  # fmt: skip
def test_what_is_not_the_image_s_fault_is_an_abort(osbs: OsbsHarness, reason: str, task_reason: str) -> None:
    ref = osbs.builder.submit(osbs.order("unlucky-f42-1")).ref
    osbs.cluster.fail(ref, "no luck", reason, task_reason)
    assert phase(osbs, ref) is Phase.ABORTED


@pytest.mark.parametrize("message", [
    "The node was low on resource: memory. Threshold quantity: 100Mi, available: 80Mi.",
    "Pod was evicted", "Node is shutting down, evicting pods",
    "Pod was terminated in response to imminent node shutdown.",
    "Node node-1 which was running pod app-pod is unresponsive", "The node had condition: [DiskPressure].",
    'pods "app-pod" not found',
])  # fmt: skip
def test_a_pod_that_its_node_ends_is_an_abort(osbs: OsbsHarness, message: str) -> None:
    ref = osbs.builder.submit(osbs.order("node-f42-1")).ref
    osbs.cluster.fail(ref, message)
    assert osbs.builder.poll([ref])[ref].phase is Phase.ABORTED


def test_a_step_that_runs_out_of_memory_is_an_abort(osbs: OsbsHarness) -> None:
    ref = osbs.builder.submit(osbs.order("oom-f42-1")).ref
    osbs.cluster.fail(ref, "a step exited with code 137")
    osbs.cluster.tasks[ref][0].status["steps"][0]["terminated"]["reason"] = "OOMKilled"
    assert osbs.builder.poll([ref])[ref].phase is Phase.ABORTED


def test_a_run_whose_task_somebody_stopped_is_canceled(osbs: OsbsHarness) -> None:
    ref = osbs.builder.submit(osbs.order("stopped-f42-1")).ref
    osbs.cluster.fail(ref, "TaskRun was cancelled", "Failed", "TaskRunCancelled")
    assert phase(osbs, ref) is Phase.CANCELED


def test_a_run_that_was_deleted_is_lost_which_the_client_calls_a_failure(osbs: OsbsHarness) -> None:
    ref = osbs.builder.submit(osbs.order("deleted-f42-1")).ref
    osbs.cluster.remove(ref)
    assert osbs.builder.poll([ref])[ref] == Status(Phase.ABORTED, "OSBS does not know this run any more")


@pytest.mark.parametrize("code", [409, 500, 503])
def test_an_answer_that_says_nothing_of_the_build_is_an_abort(osbs: OsbsHarness, code: int) -> None:
    ref = osbs.builder.submit(osbs.order("asked-f42-1")).ref
    osbs.cluster.faults.append(Fault("GET", "pipelineruns", code))
    with pytest.raises(InfrastructureError, match=f"OSBS: {code}: injected {code}"):
        osbs.builder.poll([ref])
    assert phase(osbs, ref) in UNDER_WAY
