"""What is made of the documents of a run's tasks, whatever is missing in them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rebuilder.builders.task_run import LogSource, TaskRun, digest_of, failure, log_sources
from rebuilder.domain.build import Phase, Status

DIGEST = "sha256:" + "a" * 64
RUNNING: dict[str, Any] = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}


def task(name: str, status: str, reason: str, message: str = "", **more: Any) -> TaskRun:
    condition = {"status": status, "reason": reason, "message": message}
    metadata = {"name": f"run-{name}", "labels": {"tekton.dev/pipelineTask": name, "tekton.dev/pipelineRun": "run"}}
    return TaskRun({"metadata": metadata, "status": {"conditions": [condition], **more}})


def noted(annotations: object) -> TaskRun:
    return task("exit", "True", "Succeeded", taskResults=[{"name": "annotations", "value": annotations}])


def test_a_failure_names_each_task_that_failed_with_what_it_says() -> None:
    tasks = [task("clone", "True", "Succeeded"), task("build", "False", "Failed", "boom\nagain"),
             task("push", "False", "Failed", "no place")]  # fmt: skip
    assert failure(tasks, "Tasks: 3") == Status(Phase.FAILED, "build: boom again; push: no place")
    assert failure([], "Tasks: 3") == Status(Phase.FAILED, "Tasks: 3")
    assert failure([], "") == Status(Phase.FAILED, "the run failed")


def test_a_task_s_own_words_come_before_tekton_s() -> None:
    told = json.dumps([{"key": "task_result", "value": "no such package"}, {"key": "other", "value": "x"}])
    steps = [{"terminated": {"exitCode": 0, "message": told}}, {"terminated": {"exitCode": 1, "message": told}}]
    found = task("build", "False", "Failed", "step exited with code 1", steps=steps)
    assert failure([found], "") == Status(Phase.FAILED, "build: no such package")
    unread = [{"terminated": {"exitCode": 1, "message": "{"}}]
    assert task("build", "False", "Failed", "told", steps=unread).error == "told"


def test_what_a_plugin_noted_down_comes_first() -> None:
    noting = noted(json.dumps({"plugins-metadata": {"errors": {"check_base": "the base\nis gone"}}}))
    failed = task("build", "False", "Failed", "step exited with code 1")
    assert failure([failed, noting], "") == Status(Phase.FAILED, "check_base: the base is gone")


def test_the_error_that_the_log_has_comes_before_all_and_changes_nobody_s_fault() -> None:
    noting = noted(json.dumps({"plugins-metadata": {"errors": {"store_metadata": "no image"}}}))
    bad = task("build", "False", "Failed", "step exited with code 1")
    other = task("push", "False", "Failed", "no place")
    errors = {"run-build": "Error: no libfoo"}
    assert failure([bad], "", errors) == Status(Phase.FAILED, "build: Error: no libfoo")
    assert failure([bad, other], "", errors).reason == "build: Error: no libfoo; push: no place"
    assert failure([bad, noting], "", errors).reason == "build: Error: no libfoo; store_metadata: no image"
    assert failure([task("build", "False", "PodEvicted", "gone")], "", errors).phase is Phase.ABORTED


def test_trouble_of_one_task_does_not_excuse_the_failure_of_another() -> None:
    evicted, bad = task("a", "False", "PodEvicted"), task("b", "False", "Failed")
    assert failure([evicted], "gone").phase is Phase.ABORTED
    assert failure([evicted, bad], "gone").phase is Phase.FAILED


def test_what_failed_first_is_to_blame_and_not_what_failed_for_that() -> None:
    evicted = task("build", "False", "PodEvicted", completionTime="2026-01-01T00:00:01Z")
    following = task("exit", "False", "Failed", "no image", completionTime="2026-01-01T00:00:02Z")
    assert failure([evicted, following], "").phase is Phase.ABORTED
    assert failure([following, evicted], "").phase is Phase.ABORTED
    late = task("build", "False", "PodEvicted", completionTime="2026-01-01T00:00:03Z")
    assert failure([following, late], "").phase is Phase.FAILED


def test_a_task_without_a_status_says_nothing() -> None:
    for document in ({}, {"status": None}, {"metadata": None, "status": {"steps": None, "conditions": []}}):
        bare = TaskRun(document)
        assert (bare.failed, bare.canceled, bare.trouble, bare.error, bare.results) == (False, False, False, "", {})
        assert log_sources([bare]) == []
        assert not bare.begun


def test_the_log_of_a_run_is_made_of_the_containers_that_have_one_in_the_order_of_its_tasks() -> None:
    late = task("build", "Unknown", "Running", startTime="2026-01-01T00:00:09Z", podName="pod-2",
                steps=[{"container": "step-one", **RUNNING}, {"container": "step-two", "waiting": {}}])  # fmt: skip
    early = task("clone", "True", "Succeeded", startTime="2026-01-01T00:00:01Z", podName="pod-1",
                 steps=[{"container": "step-clone", "terminated": {"exitCode": 0}}])  # fmt: skip
    pending = task("exit", "Unknown", "Pending", podName="")
    assert log_sources([pending, late, early]) == [
        LogSource("clone", "pod-1", "step-clone", ended=True), LogSource("build/one", "pod-2", "step-one"),
    ]  # fmt: skip
    assert [found.begun for found in (early, late, pending)] == [True, False, False]


def test_tries_and_tasks_of_one_name_are_told_apart() -> None:
    steps = [{"container": "step-build", "terminated": {"exitCode": 1}}]
    tried = task("build", "False", "Failed", podName="pod-2", steps=steps,
                 retriesStatus=[{"podName": "pod-1", "steps": steps}])  # fmt: skip
    assert [source.label for source in log_sources([tried])] == ["build", "build (try 2)"]
    twin = TaskRun({**tried.document, "metadata": {**tried.document["metadata"], "name": "run-twin"}})
    labels = [source.label for source in log_sources([tried, twin])]
    assert labels == ["build", "build (try 2)", "run-twin", "run-twin (try 2)"], "the first one's stay as they were"


@pytest.mark.parametrize(("specs", "annotations", "expected"), [
    ([], json.dumps({"digests": [{"digest": DIGEST}]}), DIGEST),
    ([], json.dumps({"digests": json.dumps([{"digest": DIGEST}])}), DIGEST),
    ([f"registry/img@{DIGEST}"], "{}", DIGEST),
    (["registry/img:1"], "not JSON", ""),
    ([], json.dumps({"digests": None}), ""),
    (["registry/img:1", f"registry/img@{DIGEST}"], "[]", DIGEST),
])  # fmt: skip
def test_the_digest_is_where_osbs_writes_it_down(specs: list[str], annotations: str, expected: str) -> None:
    assert digest_of(specs, [noted(annotations)]) == expected
