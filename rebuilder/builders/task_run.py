"""What the TaskRuns of a PipelineRun say: pure functions of their JSON documents."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from msgspec import Struct

from rebuilder.builders.pipeline_run import condition_of, one_line
from rebuilder.builders.reactor_log import is_vague
from rebuilder.domain.build import Phase, Status

RUN_LABEL, TASK_LABEL = "tekton.dev/pipelineRun", "tekton.dev/pipelineTask"
NO_REASON = "the run failed"
OUT_OF_MEMORY = "OOMKilled"
# What the kubelet says of a pod that it ends (pkg/kubelet/eviction, pkg/kubelet/nodeshutdown); Tekton hands the pod's
# message on as the TaskRun's (pkg/pod/status.go), with the reason of any other failure.
NODE_TROUBLE = re.compile(r"node (?:was low on resource|is shutting|shutdown|had condition|.* is (?:lost|not ready))|"
                          r"pod was evicted|preempt|is unresponsive|taint ?manager|DiskPressure|MemoryPressure|"
                          r'pods? ".*" not found', re.IGNORECASE)  # fmt: skip
LOST_CONTAINERS = frozenset({OUT_OF_MEMORY, "ContainerStatusUnknown", "Evicted"})
TASK_CANCELED = "TaskRunCancelled"
# A task that could not run, or was not let: the image is not to blame.
TASK_TROUBLE = re.compile(r"TaskRunTimeout|ImagePull|PodCreationFailed|PodEvicted|Evicted|ExceededNodeResources|"
                          r"CouldntGetTask|CreateContainerConfigError|ResourceVerification|Preempt")  # fmt: skip


class LogSource(Struct, frozen=True):
    """A container whose log is a part of the run's. `label` begins each of its lines, and no other's."""

    label: str
    pod: str
    container: str
    ended: bool = False

    @property
    def key(self) -> tuple[str, str, str]:
        """Which container it is, whether that has ended or not."""
        return self.label, self.pod, self.container


class TaskRun(Struct, frozen=True):
    """One TaskRun, as it was when it was read."""

    document: Mapping[str, Any]

    @property
    def _metadata(self) -> Mapping[str, Any]:
        return self.document.get("metadata") or {}

    @property
    def _status(self) -> Mapping[str, Any]:
        return self.document.get("status") or {}

    @property
    def name(self) -> str:
        """Its name in the cluster."""
        return str(self._metadata.get("name", ""))

    @property
    def run(self) -> str:
        """The name of its PipelineRun; Tekton labels it so (tekton.dev/docs/pipelines/labels)."""
        return str((self._metadata.get("labels") or {}).get(RUN_LABEL, ""))

    @property
    def task(self) -> str:
        """The pipeline's name for it."""
        return str((self._metadata.get("labels") or {}).get(TASK_LABEL, ""))

    @property
    def order(self) -> tuple[str, str]:
        """By which the TaskRuns of a run are sorted: those that have not begun are last."""
        return str(self._status.get("startTime") or "~"), self.name

    @property
    def ended(self) -> str:
        """When it ended, as Kubernetes writes times: in UTC, so that they sort."""
        return str(self._status.get("completionTime") or "")

    @property
    def _condition(self) -> Mapping[str, Any]:
        return condition_of(self.document)

    @property
    def canceled(self) -> bool:
        """Whether somebody stopped it: Tekton calls that a failure, with a reason of its own."""
        return self._condition.get("reason") == TASK_CANCELED

    @property
    def failed(self) -> bool:
        """Whether it ended without success, and was not stopped by anybody."""
        return self._condition.get("status") == "False" and not self.canceled

    @property
    def trouble(self) -> bool:
        """Whether what ended it was not the image's fault."""
        reason, message = str(self._condition.get("reason", "")), str(self._condition.get("message", ""))
        if TASK_TROUBLE.search(reason) or NODE_TROUBLE.search(message):
            return True
        return not LOST_CONTAINERS.isdisjoint(str(ended.get("reason")) for ended in self._ended_steps())

    @property
    def results(self) -> dict[str, str]:
        """What it wrote down."""
        results = self._status.get("taskResults") or ()
        return {str(result.get("name", "")): str(result.get("value", "")) for result in results}

    @property
    def error(self) -> str:
        """What it says of its failure, in one line: its own words, else Tekton's."""
        own = [text for ended in self._ended_steps() if ended.get("exitCode") for text in _own_words(ended)]
        return one_line("; ".join(own)) or one_line(str(self._condition.get("message", "")))

    def _ended_steps(self) -> Iterator[Mapping[str, Any]]:
        """How its steps ended, as Kubernetes tells it of a container."""
        for step in self._status.get("steps") or ():
            yield step.get("terminated") or {}

    @property
    def begun(self) -> bool:
        """Whether all its containers have a log: each step runs, or has ended."""
        steps = self._status.get("steps") or ()
        return bool(self._status.get("podName")) and all(_has_log(step) for step in steps) and bool(steps)

    def sources(self, label: str) -> Iterator[LogSource]:
        """The containers that have a log, in the order of the steps, those of earlier tries first."""
        tries = [*(self._status.get("retriesStatus") or ()), self._status]
        for number, status in enumerate(tries, 1):
            steps = status.get("steps") or ()
            for step in steps:
                if status.get("podName") and _has_log(step):
                    container = str(step.get("container", ""))
                    part = f"/{container.removeprefix('step-')}" if len(steps) > 1 else ""
                    again = f" (try {number})" if number > 1 else ""
                    yield LogSource(f"{label}{part}{again}", str(status["podName"]), container, "terminated" in step)


def _has_log(step: Mapping[str, Any]) -> bool:
    """Kubernetes answers 400 for the log of a container that waits to be started."""
    return "running" in step or "terminated" in step


def _own_words(ended: Mapping[str, Any]) -> Iterator[str]:
    """What atomic-reactor's task wrote as its `task_result` (Tekton keeps results in the container's last message)."""
    entries = loaded(ended.get("message"))
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and entry.get("key") == "task_result":
            yield str(entry.get("value", ""))


def log_sources(tasks: Sequence[TaskRun]) -> list[LogSource]:
    """Where the parts of a run's log are, in the order in which its tasks began."""
    return [source for task, label in _labeled(tasks) for source in task.sources(label)]


def _labeled(tasks: Sequence[TaskRun]) -> Iterator[tuple[TaskRun, str]]:
    named: set[str] = set()
    for task in sorted(tasks, key=lambda task: task.order):
        # The first keeps the pipeline's name whatever comes later: each line is known by its label.
        yield task, task.name if task.task in named or not task.task else task.task
        named.add(task.task)


def vague(tasks: Sequence[TaskRun]) -> dict[str, frozenset[str]]:
    """The labels in the log of each task that failed and does not say itself why, by the task's name."""
    return {
        task.name: frozenset(source.label for source in task.sources(label))
        for task, label in _labeled(tasks)
        if task.failed and is_vague(task.error)
    }


def failure(tasks: Sequence[TaskRun], message: str, errors: Mapping[str, str] = MappingProxyType({})) -> Status:
    """What a run that failed ended by: the build's fault, an infrastructure error of its tasks, or somebody's stop.

    `message` is what the run itself says, told where its tasks say nothing. `errors` are those that the log has,
    by the name of the task: they are told instead of its own words, and mean nothing else than those.
    """
    failed = [task for task in tasks if task.failed]
    stopped = [task.task for task in tasks if task.canceled]
    if stopped and not failed:
        return Status(Phase.CANCELED, f"canceled at OSBS: task {', '.join(stopped)}")
    reason = _reason(tasks, failed, errors) or one_line(message) or NO_REASON
    return Status(Phase.ABORTED if _blameless(failed) else Phase.FAILED, reason)


def _blameless(failed: Sequence[TaskRun]) -> bool:
    """Whether what failed first did not fail by the image's fault: what comes after may fail for that alone."""
    first = min((task.ended for task in failed), default="")
    return bool(failed) and all(task.trouble for task in failed if task.ended == first)


def _reason(tasks: Sequence[TaskRun], failed: Sequence[TaskRun], errors: Mapping[str, str]) -> str:
    """What the log says, and what the plugins noted down; the tasks that failed where there is no better word."""
    said = [f"{task.task}: {errors[task.name]}" for task in failed if task.name in errors]
    said += [f"{plugin}: {one_line(error)}" for plugin, error in _plugin_errors(tasks)]
    rest = [f"{task.task}: {task.error}" for task in failed if task.error and task.name not in errors]
    return "; ".join(said + rest if errors or not said else said)


def _plugin_errors(tasks: Sequence[TaskRun]) -> Iterator[tuple[str, str]]:
    """What went wrong in which of atomic-reactor's plugins, as its last task notes it down."""
    for task in tasks:
        annotations = loaded(task.results.get("annotations"))
        plugins = annotations.get("plugins-metadata") if isinstance(annotations, dict) else None
        errors = plugins.get("errors") if isinstance(plugins, dict) else None
        if isinstance(errors, dict):
            yield from ((str(plugin), str(error)) for plugin, error in errors.items())


def digest_of(specs: Sequence[str], tasks: Sequence[TaskRun]) -> str:
    """The image's digest: what the last task wrote down, else the one in a pull spec; empty where none is told."""
    for task in tasks:
        for entry in _digests(task.results.get("annotations")):
            if isinstance(entry, dict) and entry.get("digest"):
                return str(entry["digest"])
    return next((spec.rpartition("@")[2] for spec in specs if "@sha256:" in spec), "")


def _digests(annotations: object) -> Sequence[object]:
    parsed = loaded(annotations)
    listed = loaded(parsed.get("digests")) if isinstance(parsed, dict) else []
    return listed if isinstance(listed, list) else []


def loaded(value: object) -> object:
    """JSON where it is text that can be read, the value itself where it was read already."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return None
