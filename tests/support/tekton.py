"""A cluster as osbs-client sees it: Tekton's API over HTTP, with runs that the test moves, and faults on demand."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Iterator, Mapping, MutableSequence
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from rebuilder.demo.process import LOOPBACK, free_port
from support.tekton_api import Handler, Server, with_newline

TASK = "binary-container-build"
LOOK_SECONDS = 0.02


class Fault(Struct):
    """Answer the next `times` requests that fit with `code`. With `after`, what they asked for is done all the same."""

    method: str
    path: str
    code: int
    times: int = 1
    after: bool = False


class TaskRun(Struct):
    name: str
    task: str
    status: dict[str, Any]
    lines: MutableSequence[str | bytes] = field(default_factory=list)
    results: dict[str, str] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        return _ended(self.status)

    @property
    def document(self) -> dict[str, Any]:
        results = [{"name": name, "value": value} for name, value in self.results.items()]
        return {
            "kind": "TaskRun",
            "metadata": {"name": self.name, "labels": {
                "tekton.dev/pipelineTask": self.task, "tekton.dev/pipelineRun": self.name.removesuffix(f"-{self.task}"),
            }},
            "status": {**self.status, "podName": f"{self.name}-pod", "taskResults": results},
        }


class Cluster:
    """One namespace. `posted` counts the requests that would have made a run of a name, `created` those that did."""

    def __init__(self, namespace: str = "osbs") -> None:
        self.namespace = namespace
        self.tokens = {"token-1"}
        self.faults: list[Fault] = []
        self.runs: dict[str, dict[str, Any]] = {}
        self.tasks: dict[str, list[TaskRun]] = {}
        self.posted: list[str] = []
        self.created: list[str] = []
        self.lists = 0
        self.reads = 0
        self.streams = 0
        self.call_seconds = 0.0  # that each request takes
        self.cut_logs = 0  # answers that break off in the middle of a line
        self.lock = threading.RLock()
        self._port = free_port()
        self._server: ThreadingHTTPServer | None = None
        self.up()

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self._port}/"

    def up(self) -> None:
        self._server = Server((LOOPBACK, self._port), Handler)
        self._server.cluster = self
        threading.Thread(target=self._server.serve_forever, args=(LOOK_SECONDS,), daemon=True).start()

    def down(self) -> None:
        """Nobody listens any more: connections are refused."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @contextmanager
    def encrypted(self, certificate: Path) -> Iterator[str]:
        """The URL under which it is reached by TLS, with this certificate and its key."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server = Server((LOOPBACK, 0), Handler)
        server.cluster = self
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, args=(LOOK_SECONDS,), daemon=True).start()
        try:
            yield f"https://localhost:{server.server_address[1]}/"
        finally:
            server.shutdown()
            server.server_close()

    @contextmanager
    def away(self) -> Iterator[None]:
        self.down()
        try:
            yield
        finally:
            self.up()

    def begin(self, name: str) -> None:
        """The controller takes up the run: it has a status now, and a task that runs."""
        if "status" not in self.runs[name]:
            self._set(name, "Unknown", "Running", "Tasks Completed: 0")
            self.add_task(name, TASK)

    def add_task(self, name: str, task: str) -> TaskRun:
        made = TaskRun(f"{name}-{task}", task, {
            "conditions": [_condition("Unknown", "Running")],
            # As Tekton shows the state of each container (pkg/apis/pipeline/v1beta1, StepState).
            "steps": [{"container": f"step-{task}", "running": {"startedAt": "2026-01-01T00:00:00Z"}}],
            "startTime": f"2026-01-01T00:00:{len(self.tasks.get(name, ())):02}Z",
        })  # fmt: skip
        self.tasks.setdefault(name, []).append(made)
        self.runs[name]["status"]["childReferences"] = [
            {"kind": "TaskRun", "name": found.name, "pipelineTaskName": found.task} for found in self.tasks[name]
        ]
        return made

    def _set(self, name: str, status: str, reason: str, message: str = "") -> None:
        told = self.runs[name].setdefault("status", {})
        told["conditions"] = [_condition(status, reason, message)]
        if status != "Unknown":  # as Tekton's PipelineRunStatus.MarkSucceeded and MarkFailed do
            told["completionTime"] = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

    def _end_tasks(self, name: str, status: str, reason: str, message: str = "", exit_code: int = 0) -> None:
        for task in self.tasks.get(name, ()):
            if not task.ended:
                task.status["conditions"] = [_condition(status, reason, message)]
                task.status["completionTime"] = "2026-01-01T00:00:00Z"
                task.status["steps"][0].pop("running", None)
                task.status["steps"][0]["terminated"] = {"exitCode": exit_code}

    def say(self, name: str, *lines: str | bytes) -> None:
        with self.lock:
            self.begin(name)
            self.tasks[name][0].lines += lines

    def succeed(self, name: str, results: Mapping[str, Any], reason: str = "Succeeded", digest: str = "") -> None:
        with self.lock:
            self.begin(name)
            if digest:
                told = {"digests": [{"registry": "registry", "repository": "img", "tag": "1-1", "digest": digest}]}
                self.add_task(name, "binary-container-exit").results["annotations"] = json.dumps(told)
            self._end_tasks(name, "True", "Succeeded")
            found = [{"name": key, "value": json.dumps(value)} for key, value in results.items()]
            self.runs[name]["status"]["pipelineResults"] = found
            self._set(name, "True", reason, "Tasks Completed: 1")

    def fail(self, name: str, message: str, reason: str = "Failed", task_reason: str = "Failed") -> None:
        with self.lock:
            self.begin(name)
            self._end_tasks(name, "False", task_reason, message, 1)
            self._set(name, "False", reason, "Tasks Completed: 1 (Failed: 1, Cancelled 0), Skipped: 3")

    def cancel(self, name: str) -> None:
        with self.lock:
            self.begin(name)
            if not _ended(self.runs[name]["status"]):
                self._end_tasks(name, "False", "TaskRunCancelled", "TaskRun was cancelled", 1)
                self._set(name, "False", "PipelineRunCancelled", f'PipelineRun "{name}" was cancelled')

    def remove(self, name: str) -> None:
        with self.lock:
            del self.runs[name]
            self.tasks.pop(name, None)

    def task(self, name: str) -> TaskRun | None:
        return next((task for tasks in self.tasks.values() for task in tasks if task.name == name), None)

    def lines(self, task: TaskRun) -> Iterator[bytes]:
        """The lines of a task's log as they are said, until the task has ended or is gone."""
        at, server = 0, self._server
        while self._server is server:
            ended = task.ended or self.task(task.name) is None
            while at < len(task.lines):
                yield with_newline(task.lines[at])
                at += 1
            if ended:
                return
            time.sleep(LOOK_SECONDS)


def _ended(status: Mapping[str, Any]) -> bool:
    """Whether Tekton is done with a run or a task of this status: its one condition is no longer open."""
    conditions = status.get("conditions", [{}])
    return conditions[0].get("status") in ("True", "False")


def _condition(status: str, reason: str, message: str = "") -> dict[str, str]:
    return {"type": "Succeeded", "status": status, "reason": reason, "message": message}
